"""Inference engines will live here, one folder each; there are none yet (see CHANGELOG.md)."""
