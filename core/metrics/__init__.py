"""What a network's answers are worth, one file for each task. No speed."""
