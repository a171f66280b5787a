"""From what was asked to jobs: sides, rounds, and the reason for each cell that cannot be. Nothing is started here."""
