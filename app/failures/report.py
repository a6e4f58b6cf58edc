"""A failure, ready for the rules: plain lines that know what they are, and the configuration."""

from __future__ import annotations

import bisect
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Final

from app.failures.compiled import compiled
from app.failures.diagnosis import Evidence
from app.failures.roles import Role, with_roles
from app.failures.text import plain_lines

_CONTEXT_CHARS: Final = 4_000
_NEAR_CHARS: Final = 1_500
_CONFIG_DEPTH: Final = 4
_CONFIG_KEYS: Final = 400
_CONFIG_KEY_CHARS: Final = 100
_HEADER_CHARS: Final = 300
_TELLING_HEADERS: Final = frozenset({"x-error-code", "x-error-message"})
_RANKS: Final = r"(?:^|\n)\s{0,8}\[(?:default|rank)\d{1,4}\]:?|\brank \d{1,4}\b"


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it was written, in small letters, what it is, and where it starts among the small letters."""

    text: str
    small: str
    role: Role
    start: int


class Report:
    """Everything that is known of a failure."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.lines: Sequence[Line] = tuple(_lines(evidence))
        self.small: str = "\n".join(line.small for line in self.lines)
        self._starts = [line.start for line in self.lines]
        self.context = self.small
        if len(self.small) > 2 * _CONTEXT_CHARS:
            self.context = f"{self.small[:_CONTEXT_CHARS]}\n{self.small[-_CONTEXT_CHARS:]}"
        self.said: dict[str, bool] = {}
        self._near: dict[int, Report] = {}

    @cached_property
    def config(self) -> Mapping[str, object]:
        """Return the configuration with its nested tables unfolded, keys in small letters; outer ones go first."""
        return _unfolded(self.evidence.config or {})

    @cached_property
    def _switched_on(self) -> str:
        """Return the keys that are set to something, each with an underscore before it and a line break after it."""
        names = (name for name, value in self.config.items() if value not in (None, False, ""))
        return "".join(f"_{name.replace('-', '_').replace('.', '_')}\n" for name in names)

    @cached_property
    def ranked(self) -> bool:
        """Tell whether several processes speak, as launchers of training runs have them do."""
        return compiled(_RANKS).search(self.evidence.text[:_CONTEXT_CHARS].lower()) is not None

    def near(self, line: Line) -> Report:
        """Return the report as it is to be judged for a line: a long one says more than its beginning and end."""
        if self.context is self.small:
            return self
        place = line.start // _NEAR_CHARS
        if place not in self._near:
            near = self._near[place] = copy.copy(self)
            around = self.small[max(0, place - 1) * _NEAR_CHARS : (place + 2) * _NEAR_CHARS]
            near.context = f"{self.context}\n{around}"
            near.said = {}
        return self._near[place]

    def says(self, pattern: str) -> bool:
        """Tell whether the pattern is found at the beginning or the end, or near; of short reports, anywhere."""
        if pattern not in self.said:
            self.said[pattern] = compiled(pattern).search(self.context) is not None
        return self.said[pattern]

    def has(self, *pieces: str) -> bool:
        """Tell whether any of the texts, in small letters, occurs anywhere."""
        return any(piece in self.small for piece in pieces)

    def sets(self, *keys: str) -> bool:
        """Tell whether the configuration sets a key in which a word begins with one of the texts."""
        return any(f"_{key}" in self._switched_on for key in keys)

    def lines_with(self, piece: str, *, limit: int) -> Iterator[Line]:
        """Yield the first lines and then the last ones that contain the text, which has no line break.

        A word that is all over a log says most where it comes first, as a cause, or last, as an outcome.
        """
        read = 0
        for _ in range(limit):
            position = self.small.find(piece, read)
            if position < 0:
                return
            number = bisect.bisect_right(self._starts, position) - 1
            yield self.lines[number]
            if number + 1 == len(self._starts):
                return
            read = self._starts[number + 1]
        end = len(self.small)
        for _ in range(limit):
            position = self.small.rfind(piece, read, end)
            if position < 0:
                return
            number = bisect.bisect_right(self._starts, position) - 1
            yield self.lines[number]
            end = self._starts[number]


def _unfolded(config: Mapping[str, object]) -> Mapping[str, object]:
    settings: dict[str, object] = {}
    tables: list[object] = [config]
    left = _CONFIG_KEYS
    for _ in range(_CONFIG_DEPTH):
        inner: list[object] = []
        for table in tables:
            for key, value in islice(table.items() if isinstance(table, Mapping) else (), left):
                left -= 1
                if isinstance(value, Mapping):
                    inner.append(value)
                    continue
                if isinstance(value, list):
                    inner += value[:left]
                if len(str(key)) <= _CONFIG_KEY_CHARS:
                    settings.setdefault(str(key).lower(), value)
        tables = inner
    return settings


def _lines(evidence: Evidence) -> Iterator[Line]:
    start = 0
    for line, small, role in with_roles(plain_lines(evidence.text)):
        yield Line(line.strip(), small, role, start)
        start += len(small) + 1
    for line in _told(evidence):
        yield Line(line, line.lower(), "plain", start)
        start += len(line.lower()) + 1


def _told(evidence: Evidence) -> Iterator[str]:
    """Say what came beside the text in the words that the rules know."""
    if evidence.status is not None and evidence.status >= 400:
        yield f"HTTP status code: {evidence.status}"
    for name, value in (evidence.headers or {}).items():
        if name.lower() in _TELLING_HEADERS:
            yield f"{name}: {value[:_HEADER_CHARS]}"
