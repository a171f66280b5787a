"""A train step compiled for devices that need not be here, and what the compiler says of it."""
