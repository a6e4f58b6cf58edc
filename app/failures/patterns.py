"""Fast and bounded search for thousands of patterns in one report.

Every pattern has pieces of text of which each of its matches contains one. Which pieces a report contains is found
out together, by its groups of three letters; only patterns with a piece that is there are tried at all, only on the
lines that contain it, only on the first few of those, and only until a budget is used up. That makes ordinary reports
cheap and bounds what hostile ones can cost. Patterns are compiled when they are first tried, because compiling all
of them takes longer than importing the rest of the service.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from app.failures.compiled import compiled
from app.failures.report import Line, Report

MIN_PIECE_CHARS: Final = 2
"""A shorter piece of text occurs nearly everywhere and would save nothing. Chinese words have two letters."""

_EVERYWHERE: Final = frozenset({"error", "failed", "request"})
_WORTH_OF_EVERYWHERE: Final = 2.5
"""Words that most reports contain save little: nearly any other piece is better to look for."""

_GRAM_CHARS: Final = 3

MAX_SEARCHED_CHARS: Final = 90_000
"""How much text may be searched for the patterns of one report. Half of 1,864 labelled ones need a twentieth of it, none half."""

_MAX_LINES_TRIED: Final = 3
_CLASSES: Final = frozenset("bBdDsSwWAZ")
_OPENINGS: Final = ("(?:", "(?!", "(?=", "(?<!", "(?<=", "(")
_HOLDING: Final = frozenset({"(?:", "("})
_META: Final = frozenset(".^$?*+")


@cache
def required_pieces(pattern: str) -> tuple[str, ...]:
    """Return texts of which every match of the pattern contains at least one; none when that cannot be told.

    Of all such sets the one is taken whose shortest text is the longest. Classes, and whatever may be absent,
    count for nothing.

    Raises:
        ValueError: The pattern has a group or an escape of a kind that the tables of rules do without.
    """
    pieces, end = _alternatives(pattern, 0)
    return pieces if end == len(pattern) else ()


def _alternatives(pattern: str, index: int) -> tuple[tuple[str, ...], int]:
    """Read alternatives up to the closing bracket or the end; return their pieces together, and where they end."""
    together: list[str] = []
    complete = True
    while True:
        pieces, index = _sequence(pattern, index)
        together += pieces
        complete = complete and bool(pieces)
        if pattern[index : index + 1] != "|":
            return tuple(together) if complete else (), index
        index += 1


def _sequence(pattern: str, index: int) -> tuple[tuple[str, ...], int]:
    """Read one alternative; return the best set of pieces among its parts, and where it ends."""
    best: tuple[str, ...] = ()
    run = ""
    while index < len(pattern) and pattern[index] not in "|)":
        letter, pieces, index = _part(pattern, index)
        optional, index, repeated = _repetition(pattern, index)
        if letter and not optional:
            run += letter
        if run and (not letter or repeated):
            best, run = _better(best, (run,)), ""
        if pieces and not optional:
            best = _better(best, pieces)
    return _better(best, (run,)) if run else best, index


def _part(pattern: str, index: int) -> tuple[str, tuple[str, ...], int]:
    """Read one letter, class or group; return it if it is a letter, its pieces if it is a group, and where it ends."""
    char = pattern[index]
    if char == "\\":
        letter = pattern[index + 1]
        if letter.isalnum() and letter not in _CLASSES:
            raise ValueError(f"cannot tell the pieces of {pattern!r}: it escapes {letter!r}")
        return "" if letter in _CLASSES else letter, (), index + 2
    if char == "[":
        return "", (), _class_end(pattern, index)
    if char == "(":
        opening = next(known for known in _OPENINGS if pattern.startswith(known, index))
        start = index + len(opening)
        if pattern[start] == "?":
            raise ValueError(f"cannot tell the pieces of {pattern!r}: it has an unknown kind of group")
        pieces, end = _alternatives(pattern, start)
        return "", pieces if opening in _HOLDING else (), end + 1
    return "" if char in _META else char, (), index + 1


def _repetition(pattern: str, index: int) -> tuple[bool, int, bool]:
    """Read what may follow a part; return whether the part may be absent, where that ends, and whether there was one."""
    char = pattern[index : index + 1]
    if char and char in "?*+":
        return char != "+", index + 1, True
    if char == "{":
        return pattern[index + 1] in "0,", pattern.index("}", index) + 1, True
    return False, index, False


def _class_end(pattern: str, index: int) -> int:
    index += 2 if pattern[index + 1] in "^]" else 1
    while pattern[index] != "]":
        index += 2 if pattern[index] == "\\" else 1
    return index + 1


def _better(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    if not one:
        return other
    return max(one, other, key=lambda pieces: (min(map(_worth, pieces)), -len(pieces)))


def _worth(piece: str) -> float:
    return _WORTH_OF_EVERYWHERE if piece.strip() in _EVERYWHERE else len(piece)


class Index:
    """Tells which of many patterns a report may match at all."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns: dict[str, list[str]] = {}
        for pattern in patterns:
            for piece in required_pieces(pattern):
                self._patterns.setdefault(piece, []).append(pattern)
        often = Counter(gram for piece in self._patterns for gram in _grams(piece))
        self._short = [piece for piece in self._patterns if len(piece) < _GRAM_CHARS]
        self._pieces: dict[str, list[str]] = {}
        for piece in self._patterns:
            if len(piece) >= _GRAM_CHARS:
                self._pieces.setdefault(min(_grams(piece), key=often.__getitem__), []).append(piece)

    def candidates(self, report: Report) -> Mapping[str, Sequence[str]]:
        """Return the patterns with a piece that the report contains, each with those pieces."""
        found: dict[str, list[str]] = {}
        grams = set(_grams(report.small))
        # In the order of the rules: that of a set of texts is another one in each process.
        likely = [piece for gram, pieces in self._pieces.items() if gram in grams for piece in pieces]
        for piece in (*likely, *self._short):
            if piece in report.small:
                for pattern in self._patterns[piece]:
                    found.setdefault(pattern, []).append(piece)
        return found


def _grams(text: str) -> list[str]:
    return [text[start : start + _GRAM_CHARS] for start in range(len(text) - _GRAM_CHARS + 1)]


class Search:
    """A search in one report that ends when its budget is used up."""

    def __init__(self, report: Report, index: Index) -> None:
        self._report = report
        self._candidates = index.candidates(report)
        self._left_chars = MAX_SEARCHED_CHARS

    def possible(self, patterns: Iterable[str]) -> list[str]:
        """Return those of the patterns with a piece that the report contains. Few have one, and only they need trying."""
        candidates = self._candidates
        return [pattern for pattern in patterns if pattern in candidates]

    def lines(self, pattern: str) -> Iterator[Line]:
        """Yield the first lines in which the pattern is found."""
        pieces = self._candidates.get(pattern)
        if not pieces:
            return
        tried: set[int] = set()  # Several pieces of one pattern often stand in the same line.
        for piece in pieces:
            for line in self._report.lines_with(piece, limit=_MAX_LINES_TRIED):
                if id(line) in tried:
                    continue
                tried.add(id(line))
                self._left_chars -= len(line.small)
                if self._left_chars < 0:
                    return
                if compiled(pattern).search(line.small):
                    yield line

    def finds(self, pattern: str) -> bool:
        """Tell whether the pattern is found anywhere."""
        return next(self.lines(pattern), None) is not None
