"""What all tables are made of: numbers and intervals."""

import pytest

from dlcompare.core.reports.text import interval, number


@pytest.mark.parametrize("value, text", [(None, "-"), (0.012344, "0.01234"), (9.9996, "10.00"), (12.3, "12.30"),
                                         (999.96, "1000"), (1234.5, "1,234"), (123456.7, "123,457"), (0.0, "0.000")])
def test_numbers_have_four_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_an_interval_that_nobody_knows_is_nothing() -> None:
    assert interval(1, 2) == "[1.000, 2.000]" and interval(None, None) == ""
