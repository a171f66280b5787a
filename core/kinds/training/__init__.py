"""Training throughput under the window protocol."""
