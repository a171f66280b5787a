"""The command line: options in, a plan out, reports printed. No logic of its own lives here."""

import gc

gc.set_threshold(50_000)  # a start-up makes many objects that stay: looking through them takes a tenth of it
