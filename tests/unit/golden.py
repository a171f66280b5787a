"""Texts that were approved: UPDATE_GOLDEN=1 writes them anew, then read the difference."""

import os
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"


def compare_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def flowing(text: str) -> str:
    """Return text without its line breaks, so that a sentence is found however it was wrapped."""
    return " ".join(text.split())
