"""Text of others is shown and not obeyed: by terminals, by spreadsheets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlcompare.core.printable import cell, in_one_line, printable, printable_but_colours


@pytest.mark.parametrize("harmful", ["\x1b", "\x07", "\x08", "\r", "\x7f", "\x85", "\x9b", "\u202e", "\u2066",
                                     "\ud800"])
def test_what_a_terminal_would_act_on_is_replaced(harmful: str) -> None:
    assert printable(f"a{harmful}b") == "a\N{REPLACEMENT CHARACTER}b" == in_one_line(f"a{harmful}b")


def test_text_in_any_language_stays_as_it_is() -> None:
    text = "naïve 模型 ŵ שלום 🙂\n\tsecond line"
    assert printable(text) == text and in_one_line("a\n  b\tc") == "a b c"


def test_of_commands_only_colours_are_left_on_a_terminal() -> None:
    assert printable_but_colours("\x1b[1;31mred\x1b[0m") == "\x1b[1;31mred\x1b[0m"
    assert "\x1b" not in printable_but_colours("\x1b]0;title\x07\x1b[2J\x1b[31")


@given(st.text())
def test_whatever_the_text_it_can_be_encoded_and_commands_nothing(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert printable(shown) == shown and len(shown) == len(text) and "\x1b" not in printable_but_colours(shown)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_of_text_is_no_formula_and_a_number_stays_one(text: str) -> None:
    assert cell(text).startswith("'") and cell("plain = text") == "plain = text"
    assert cell(-1.5) == -1.5 and cell(None) is None and cell(True) is True
