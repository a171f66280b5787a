"""Which Python runs a plug-in, and making it from a lock file. No framework is imported here."""
