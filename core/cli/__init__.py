"""The command line: options in, a plan out, reports printed. No logic of its own lives here."""
