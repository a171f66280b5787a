"""Carry a plan out: run folder, lock, resume, environments, one job after another. Nothing that only one kind of
measurement needs lives here."""
