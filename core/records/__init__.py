"""Raw values of ranks and records of jobs, and the statistics of them. Nothing that compares two records."""
