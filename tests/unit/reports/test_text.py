"""What all tables are made of: numbers and intervals, and text that commands no terminal."""

import io

import pytest
from rich.text import Text

from dlcompare.core.reports.text import in_short, interval, number, plain_table, to_text


@pytest.mark.parametrize("value, text", [(None, "-"), (0.012344, "0.01234"), (9.9996, "10.00"), (12.3, "12.30"),
                                         (999.96, "1000"), (1234.5, "1,234"), (123456.7, "123,457"), (0.0, "0.000")])
def test_numbers_have_four_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_an_interval_that_nobody_knows_is_nothing() -> None:
    assert interval(1, 2) == "[1.000, 2.000]" and interval(None, None) == ""


def test_many_numbers_are_told_in_short() -> None:
    assert in_short([2, 4, 5, 7, 9]) == "2, 4, 5, 7, 9"
    assert in_short(range(1, 10_001)) == "1, 2, 3, 4, 5 and 9,995 more"


def test_on_a_terminal_only_our_own_colours_are_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    table = plain_table()
    table.add_column("[bold]name[/]")
    table.add_row("\x1b[8mhidden[red]", Text("\x1b]0;title\x07", style="green"))
    text = to_text([table, Text("fine", style="red")], 80)
    assert "\x1b[31mfine\x1b[0m" in text and "[bold]name[/]" in text and "hidden[red]" in text
    assert "\x1b[8m" not in text and "\x1b]" not in text and "\x07" not in text
