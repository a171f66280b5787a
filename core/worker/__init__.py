"""What a worker process does whatever it measures: begin and end, warm-up, timed windows. What only one kind of
measurement does lives in that kind's folder."""
