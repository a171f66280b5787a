"""Training until the test split is answered well enough, and how long that took."""
