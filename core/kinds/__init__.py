"""The kinds of measurement, a folder each with the same file names. What two kinds share lives in the rooms around."""
