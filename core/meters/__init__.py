"""What is read around a window, or sampled beside the job: energy, power, foreign load. No meter knows a framework."""
