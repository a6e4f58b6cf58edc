"""Numbers, lengths of time and sizes, as people and programs write them. What makes no sense is None."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from app.failures.compiled import compiled

_TOO_MUCH: Final = 1e12
_MAX_NUMBER_CHARS: Final = 20
_NUMBER: Final = r"\d{1,12}(?:\.\d{0,9})?(?:[eE][-+]?\d{1,3})?"

MAX_WAIT_S: Final = 7 * 24 * 3600
"""Nobody waits longer, and whoever asks for it has written nonsense."""

_SHORT_S: Final = 120
_UNITS_S: Final[Mapping[str, float]] = {
    "ms": 0.001,
    "mil": 0.001,
    "s": 1.0,
    "秒": 1.0,
    "m": 60.0,
    "分": 60.0,
    "h": 3_600.0,
    "小": 3_600.0,
    "d": 86_400.0,
    "天": 86_400.0,
}
"""By how the word for the unit begins; those of milliseconds stand before that of minutes."""

_TIME_UNIT: Final = (
    r"(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])|(?:秒|分钟?|小时|天)"
)
_CLOCK: Final = r"(?:\d{1,2} days?, ?)?\d{1,3}:\d\d:\d\d(?![\d:])"
_AMOUNT: Final = rf"\d{{1,9}}(?:\.\d{{1,9}})?[ -]?(?:{_TIME_UNIT})"
DURATION: Final = rf"(?:{_CLOCK}|{_AMOUNT}(?:(?:,? and |, ?| )?{_AMOUNT}){{0,3}})"
"""A length of time: `20s`, `6m0s`, `1 minute, 30 seconds`, `1:02:03`. For patterns that ignore case."""

_SIZE_UNIT: Final = r"(?:[KMGT](?:i?B|i)?|bytes?|B)(?![A-Za-z])"
SIZE: Final = rf"\d{{1,12}}(?:\.\d{{1,3}})? ?{_SIZE_UNIT}"
"""A size with its unit: `2.50 GiB`, `512Mi`, `25MB`. For patterns that ignore case."""

_POWERS: Final = "kmgt"


def positive(value: object) -> float | None:
    """Return the number that a setting is, if it is one above 0 and within reason; text may be one too."""
    if isinstance(value, str) and len(value) <= _MAX_NUMBER_CHARS and compiled(_NUMBER).fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < _TOO_MUCH else None


def number(value: float) -> str:
    """Return the number as people write it."""
    return str(int(value)) if value.is_integer() else f"{value:g}"


def seconds(text: str) -> float:
    """Return how long the time is that `DURATION` has matched, all of its parts together."""
    text = text.lower()
    days, _, clock = text.rpartition(",") if ":" in text else ("", "", "")
    if clock:
        hours, minutes, rest = map(int, clock.split(":"))
        return hours * 3_600 + minutes * 60 + rest + (int(days.split()[0]) * 86_400 if days else 0)
    parts = compiled(r"(\d{1,9}(?:\.\d{1,9})?)[ -]?([^\d\s,.-]{1,12})").findall(text)
    return sum(float(amount) * _unit_s(unit) for amount, unit in parts)


def _unit_s(unit: str) -> float:
    return next(length for beginning, length in _UNITS_S.items() if unit.startswith(beginning))


def wait(wait_s: float) -> str | None:
    """Return how long to wait, rounded up; None for no time and for more than anybody waits."""
    if not 0 < wait_s <= MAX_WAIT_S:
        return None
    return spoken(math.ceil(round(wait_s, 6)))


def about(length_s: float) -> str | None:
    """Return a length of time to the second; None for no time and for more than anybody waits."""
    return spoken(max(1, round(length_s))) if 0 < length_s <= MAX_WAIT_S else None


def spoken(length_s: int) -> str:
    """Return the length of time for people: `90 s`, `1 h 2 min 3 s`."""
    if length_s <= _SHORT_S:
        return f"{length_s} s"
    minutes, rest_s = divmod(length_s, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest_s, "s"))
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount)


def bytes_in(size: str) -> float:
    """Return how many bytes a size is that `SIZE` has matched."""
    amount, unit = compiled(r"([\d.]{1,16}) ?(.)").findall(size)[0]
    return float(amount) * 1024.0 ** (_POWERS.find(unit.lower()) + 1)


def readable(size: str) -> str:
    """Return a size in larger units when it is a long number of bytes; any other text as it is."""
    if not compiled(r"\d{7,12} ?(?:[Bb]|[Bb]ytes?)").fullmatch(size):
        return size
    mebibytes = bytes_in(size) / 2**20
    return f"{mebibytes / 1024:.3g} GiB" if mebibytes >= 1024 else f"{mebibytes:.3g} MiB"
