"""What one worker process of inference does: builds, times, drives MLPerf's scenarios."""
