"""Sweeps shown: every cell in one table, a table and a figure for each setting of which several values were asked for.
"""
