"""Meters of the host: processor time, hardware events, storage, network, memory and clock."""
