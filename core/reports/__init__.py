"""Showing records, never computing: tables, verdicts, CSV, JSON. What only one kind of measurement shows lives in its
folder."""
