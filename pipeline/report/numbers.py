"""How numbers are shown: the same everywhere, units spelled out, and a missing one as missing."""

from __future__ import annotations

import math
import re
from typing import Any

MISSING = "missing"
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_SPACE = "\u00a0"  # no line ends between a number and its unit
_MINUS = re.compile(r"(?<![^\s(])-(?=\d)")
_POWER = re.compile(r"(?<![\w.-])(\d+(?:\.\d+)?)e([+-]\d+)\b")


def is_missing(value: Any) -> bool:
    """Tell whether a value is not there: None, NaN or infinite."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def count(value: Any) -> str:
    """Return a whole number with separators: 1,234,567."""
    return MISSING if is_missing(value) else _signed(f"{value:,.0f}")


def short(value: Any) -> str:
    """Return a count for axes and labels: 850, 20k, 1.2M."""
    if is_missing(value):
        return MISSING
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * unit:
            return _signed(f"{value / unit:.3g}{name}")
    return _signed(f"{value:.3g}")


def number(value: Any, digits: int = 4) -> str:
    """Return a number with so many significant digits, whole parts in full, tiny ones as powers of ten."""
    if is_missing(value):
        return MISSING
    if isinstance(value, int):
        return count(value)
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return _power(_signed(mantissa), exponent)
    places = 0 if not value else max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return _signed(f"{value:,.{places}f}")


def fixed(value: Any, places: int = 3) -> str:
    """Return a number with so many places, for columns that are read downwards."""
    return MISSING if is_missing(value) else _signed(f"{value:,.{places}f}")


def signed(value: Any, digits: int = 3) -> str:
    """Return a change with its sign and so many significant digits: +0.12."""
    return MISSING if is_missing(value) else ("+" if value > 0 else "") + number(float(value), digits)


def estimate(value: Any, ends: Any, digits: int = 3) -> str:
    """Return an estimate with its sign, and its interval where that is known: +0.12 (0.10 to 0.14)."""
    known = ends is not None and not any(is_missing(end) for end in ends)
    return signed(value, digits) + (f" ({interval(ends, digits)})" if known else "")


def measured(value: Any, stderr: Any, places: int = 3) -> str:
    """Return a measurement and its standard error: 2.412 ± 0.013."""
    if is_missing(value) or is_missing(stderr):
        return fixed(value, places)
    return f"{fixed(value, places)}{_SPACE}±{_SPACE}{fixed(stderr, places)}"


def percent(value: Any, places: int = 1) -> str:
    """Return a share as a percentage."""
    return MISSING if is_missing(value) else f"{fixed(100 * value, places)}{_SPACE}%"


def size(value: Any) -> str:
    """Return bytes in decimal units: 3.2 MB."""
    if is_missing(value):
        return MISSING
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{_SPACE}{name}"
    return f"{value:.0f}{_SPACE}B"


def duration(value: Any) -> str:
    """Return seconds as people say them: 0.42 s, 2 min 20 s, 3 h 05 min."""
    if is_missing(value):
        return MISSING
    if value < 9.95:
        return f"{value:.2g}{_SPACE}s"
    whole = round(value)
    if whole < 60:
        return f"{whole}{_SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{_SPACE}min{_SPACE}{whole % 60:02d}{_SPACE}s"
    return f"{whole // 3600}{_SPACE}h{_SPACE}{whole % 3600 // 60:02d}{_SPACE}min"


def interval(ends: Any, digits: int = 4) -> str:
    """Return an interval; an end that is unknown or unbounded is said to be."""
    if ends is None:
        return MISSING
    low, high = (("unbounded" if is_missing(end) else number(end, digits)) for end in ends)
    return f"{low} to {high}"


def power_of_ten(value: float) -> str:
    """Return a number as axes have it: 10¹², 3 × 10¹²."""
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    return _power(mantissa, exponent).removeprefix(f"1{_SPACE}×{_SPACE}")


def typeset(text: str) -> str:
    """Return a sentence with its numbers as they stand elsewhere: −0.6 for -0.6, 3 × 10¹² for 3e+12."""
    return _MINUS.sub("−", _POWER.sub(lambda found: _power(found[1], found[2]), text))


def _power(mantissa: str, exponent: str) -> str:
    return f"{mantissa}{_SPACE}×{_SPACE}10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def _signed(text: str) -> str:
    is_nothing = not text.strip("-0.,")
    return text.removeprefix("-") if is_nothing else text.replace("-", "−")
