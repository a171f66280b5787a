"""What is read before and after a window: energy, foreign load. No meter knows a framework."""
