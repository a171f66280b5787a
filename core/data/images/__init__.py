"""Datasets of real images, and the processes that decode their files."""
