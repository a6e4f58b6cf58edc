"""How a fact is found in a report: which lines are asked, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from app.failures.advice.hint import Hint
from app.failures.compiled import compiled
from app.failures.report import Line, Report
from app.failures.types import FailureType

Say = str | Callable[[Mapping[str, str]], str | None]

_MOST_LINES: Final = 60
_NEAR: Final = 3
_ASIDE: Final = frozenset({"notice", "source", "frame"})
_HARMLESS: Final = r"\b(?:ignor(?:ed|ing)|fall(?:s|ing)? back|skipp(?:ed|ing)|optional|harmless|not fatal)\b"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something a message may tell, and what follows from it.

    Attributes:
        types: The kinds of failure for which it matters.
        patterns: Searched in a line as it was written, the first that is found counts; their named groups are the
            facts.
        advice: A sentence with the names of the groups in braces, or what makes one of the groups; None is no advice.
        replaces: Beginnings of other advice that says less than this, or the contrary.
        late: Whether it comes after the advice that goes with the kind.
    """

    types: tuple[str, ...]
    patterns: tuple[str, ...]
    advice: Say
    replaces: tuple[str, ...] = ()
    late: bool = False

    def found_in(self, line: str) -> Mapping[str, str] | None:
        """Return what the line tells, or None."""
        for pattern in self.patterns:
            found = compiled(pattern).search(line)
            if found:
                return {name: text for name, text in found.groupdict().items() if text is not None}
        return None

    def says(self, groups: Mapping[str, str]) -> str | None:
        """Return the advice that follows from what a line tells."""
        if not isinstance(self.advice, str):
            return self.advice(groups)
        facts = dict(groups)
        if "path" in facts:
            facts["file"] = facts["path"].replace("\\", "/").rstrip("/").rpartition("/")[2] or "the folder"
        return self.advice.format_map(facts)


def from_message(facts: Iterable[Fact], kind: FailureType, report: Report, decisive: Line | None) -> Iterator[Hint]:
    """Yield the advice that follows from the message, from what stands in or next to the line that decided first."""
    facts = [fact for fact in facts if kind.name in fact.types]
    lines = tuple(islice(_in_order(report, decisive), _MOST_LINES)) if facts else ()
    for fact in facts:
        groups = next((groups for line in lines if (groups := fact.found_in(line.text)) is not None), None)
        said = None if groups is None else fact.says(groups)
        if said:
            yield Hint(said, fact.replaces, late=fact.late)


def _in_order(report: Report, decisive: Line | None) -> Iterator[Line]:
    """Yield the lines, the most telling first.

    Of several that say the same in the same way the last one was fatal: those before it were survived. What is near
    belongs to it; of the rest the end is most likely to.
    """
    lines = report.lines
    place = lines.index(decisive) if decisive in lines else len(lines)
    later = [number for number in range(len(lines) - 1, place, -1) if lines[number].role == lines[place].role]
    near = [*range(place + 1, place + 1 + _NEAR), *range(place - 1, place - 1 - _NEAR, -1)]
    for number in dict.fromkeys([*later, place, *near, *range(len(lines) - 1, -1, -1)]):
        if not 0 <= number < len(lines):
            continue
        line = lines[number]
        if number == place or not (line.role in _ASIDE or compiled(_HARMLESS).search(line.small)):
            yield line
