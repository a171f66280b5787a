"""The kind of measurement `inference`, with the file names that every kind has; see core/kinds."""
