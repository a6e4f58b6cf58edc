"""Which parts of a long text are read: its ends, and around the words that say that something went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_MAX_READ_CHARS: Final = 12 * 1024
_MAX_THINNED_LINES: Final = 20_000
_HEAD_CHARS: Final = 1_536
_TAIL_CHARS: Final = 3_072
_WINDOW_BEFORE_CHARS: Final = 250
_WINDOW_AFTER_CHARS: Final = 450
_FIRST_PLACES: Final = 4
_LAST_PLACES: Final = 6
_LAST_CHARS: Final = 32 * 1024
"""How far from the end the last places are looked for: searching backwards is slow."""


_SIGNALS: Final = (
    "error",
    "exception",
    "traceback",
    "fail",
    "kill",
    "timeout",
    "timed out",
    "refused",
    "denied",
    "out of memory",
    "oom",
    "not found",
    "unable to",
    "could not",
    "cannot",
    "can't",
    "missing",
    "invalid",
    "assert",
    "quota",
    "status",
    "exceeded",
    " nan",
)
"""Words around which a text that is too long to be read whole is read."""


def focus(text: str) -> str:
    """Return the parts of a long text in which something may have gone wrong."""
    if len(text) > _MAX_READ_CHARS:
        text = thinned(text)
    return _windows(text) if len(text) > _MAX_READ_CHARS else text


def thinned(text: str) -> str:
    """Return the text with the first and the last of the lines that differ in nothing but digits.

    What a log repeats, with other times and counts, would otherwise hide what it says once.
    """
    shapes = text
    for digit in "0123456789":  # Ten times faster than `translate` where there are letters beyond ASCII.
        shapes = shapes.replace(digit, "")
    lines, kinds = text.split("\n"), shapes.split("\n")
    if len(lines) > _MAX_THINNED_LINES:
        return text
    last = {kind: number for number, kind in enumerate(kinds)}
    first = {kind: number for number, kind in reversed(list(enumerate(kinds)))}
    return "\n".join(lines[number] for number in sorted({*first.values(), *last.values()}))


def _windows(text: str) -> str:
    small = text.replace("\u0130", "I").lower()  # The one letter that grows when made small: places must stay places.
    windows = [(0, _HEAD_CHARS), (len(text) - _TAIL_CHARS, len(text))]
    budget = _MAX_READ_CHARS - _HEAD_CHARS - _TAIL_CHARS
    for place in _places(small):
        if any(start <= place < end - _WINDOW_AFTER_CHARS // 2 for start, end in windows):
            continue
        windows.append((max(0, place - _WINDOW_BEFORE_CHARS), place + _WINDOW_AFTER_CHARS))
        budget -= _WINDOW_BEFORE_CHARS + _WINDOW_AFTER_CHARS
        if budget <= 0:
            break
    parts, read = [], 0
    for start, end in sorted(windows):
        if start > read:
            parts.append("\n")
        parts.append(text[max(start, read) : end])
        read = max(read, end)
    return "".join(parts)


def _places(small: str) -> Iterator[int]:
    """Yield where the signals are, in turns, so that a word that is everywhere does not hide the others."""
    found = [places for word in _SIGNALS if (places := _first_and_last(small, word))]
    for turn in range(_FIRST_PLACES + _LAST_PLACES):
        for places in found:
            if turn < len(places):
                yield places[turn]


def _first_and_last(small: str, word: str) -> list[int]:
    first: list[int] = []
    position = small.find(word)
    while position >= 0 and len(first) < _FIRST_PLACES:
        first.append(position)
        position = small.find(word, position + _WINDOW_AFTER_CHARS)
    last: list[int] = []
    floor = max(len(small) - _LAST_CHARS, first[-1] if first else 0)
    position = small.rfind(word, floor)
    while position >= 0 and len(last) < _LAST_PLACES:
        last.append(position)
        position = small.rfind(word, floor, max(floor, position - _WINDOW_AFTER_CHARS))
    turns = [place for pair in zip(first, last, strict=False) for place in pair]
    return [*turns, *first[len(last) :], *last[len(first) :]]
