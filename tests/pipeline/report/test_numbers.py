"""Numbers as they are shown."""

from __future__ import annotations

import math

import pytest

from pipeline.report import numbers

MISSING = [None, math.nan, math.inf]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(20_000, "20k"), (999_999, "1M"), (1_200_000, "1.2M"), (850, "850"), (0.003, "0.003")],
)
def test_counts_on_axes_are_short(value: float, shown: str) -> None:
    assert numbers.short(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2.0413, "2.041"),
        (-0.3097, "−0.3097"),
        (0, "0"),
        (1234567, "1,234,567"),
        (8.02e-4, "8.020 × 10⁻⁴"),
        (3e15, "3.000 × 10¹⁵"),
        (0.0, "0"),
        (-0.0, "0"),
    ],
)
def test_numbers_show_their_digits(value: float, shown: str) -> None:
    assert numbers.number(value).replace("\u00a0", " ") == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.42, "0.42 s"), (9.97, "10 s"), (140, "2 min 20 s"), (3725, "1 h 02 min")]
)
def test_durations_are_what_people_say(seconds: float, shown: str) -> None:
    assert numbers.duration(seconds).replace("\u00a0", " ") == shown


@pytest.mark.parametrize("value", MISSING)
def test_what_is_missing_is_called_so_everywhere(value: float | None) -> None:
    shown = [
        show(value)
        for show in (
            numbers.count, numbers.short, numbers.number, numbers.fixed, numbers.percent, numbers.size,
            numbers.duration,
        )
    ]  # fmt: skip

    assert set(shown) == {numbers.MISSING}
    assert numbers.measured(value, 0.1) == numbers.MISSING


def test_a_measurement_without_an_error_has_none() -> None:
    assert numbers.measured(2.4, None) == "2.400"
    assert numbers.measured(2.4, 0.0126).replace("\u00a0", " ") == "2.400 ± 0.013"


def test_an_open_interval_says_so() -> None:
    assert numbers.interval([0.5, None]) == "0.5000 to unbounded"
    assert numbers.interval(None) == numbers.MISSING


def test_nothing_has_no_sign() -> None:
    assert (numbers.signed(-0.0), numbers.fixed(-0.0004, 1), numbers.signed(0.01)) == ("0", "0.0", "+0.0100")


@pytest.mark.parametrize(("value", "shown"), [(1e12, "10¹²"), (3e-5, "3 × 10⁻⁵")])
def test_powers_on_axes_are_short(value: float, shown: str) -> None:
    assert numbers.power_of_ten(value).replace("\u00a0", " ") == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a slope of -0.64 (-0.80 to -0.48)", "a slope of −0.64 (−0.80 to −0.48)"),
        ("1.7e+10 to 3e+14 FLOPs", "1.7 × 10¹⁰ to 3 × 10¹⁴ FLOPs"),
        ("d2-fixed-s0-1e5 and d2-s0-3e+1", "d2-fixed-s0-1e5 and d2-s0-3e+1"),
        ("offset-power, log-linear, C^-0.5", "offset-power, log-linear, C^-0.5"),
    ],
)
def test_numbers_in_sentences_look_as_elsewhere_and_names_stay(said: str, shown: str) -> None:
    assert numbers.typeset(said).replace("\u00a0", " ") == shown
