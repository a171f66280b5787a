"""What may be concluded from several records: verdicts, cold starts, the parts of a gap. Pure functions of records."""
