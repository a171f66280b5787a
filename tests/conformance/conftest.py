"""The frameworks' environments, as fixtures."""

from environments import engine_environment, environment  # noqa: F401
