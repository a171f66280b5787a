"""A run of inference as people and programs read it: rows drawn from records, tables, remarks, figures. Nothing here
runs or judges."""
