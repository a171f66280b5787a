"""Sections that stand below a main table, whatever kind of measurement that is of."""
