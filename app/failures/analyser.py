"""From a report to a diagnosis: every rule is asked, and the kind with the heaviest words wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from app.failures.advice import advise
from app.failures.diagnosis import Confidence, Diagnosis, Evidence
from app.failures.patterns import Index, Search
from app.failures.report import Line, Report
from app.failures.roles import Role
from app.failures.rule import Rule
from app.failures.rules import RULES
from app.failures.types import TYPES, UNKNOWN

_TRUST: Final[Mapping[Role, float]] = {
    "error": 1.0,
    "plain": 0.97,
    "raise": 0.9,
    "log": 0.7,
    "warning": 0.85,
    "source": 0.7,
    "frame": 0.6,
    "aftermath": 0.6,
    "notice": 0.25,
}
"""How much a line counts, by what it is: code that is quoted says what might happen, an error says what did."""

_TRUST_ANYWHERE: Final[Mapping[Role, float]] = {**_TRUST, "raise": 0.93, "source": 0.93, "frame": 0.93}
"""What a line counts for rules whose words mean the same wherever they stand."""

_ENOUGH_FOR_A_VETO: Final = 0.9
"""From lines that count as much as this, or as the line they speak against, words take a rule's word away."""

_HEAVIEST_FIRST: Final = sorted(RULES, key=lambda rule: -rule.weight)

_ANOTHER_RULE: Final = 1.5
_LEAST: Final = 30.0
_SURE_OF_ERRORS: Final = (80.0, 25.0)
_SURE_OF_OTHERS: Final = (90.0, 80.0)
_MEDIUM: Final = (52.0, 3.0)
"""The least score, and the least distance to the next kind: of a line that an exception or a logger wrote, of any other
line (a remark, or a body whose words are an upstream's own), and for `medium`.

They are no taste. On 2,505 labelled messages, each judged by the rules as they were before it was first seen, 972
answers are `high` with these figures, and 98.8 % of those are right.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What speaks for one kind of failure: the score, the rule that gave most of it, and where."""

    score: float
    rule: Rule
    line: Line


def analyse(evidence: Evidence) -> Diagnosis:
    """Return what most likely went wrong, and what helps. Any text is fine; nothing is raised, run or fetched."""
    report = Report(evidence)
    found = findings(report)
    if not found or found[0].score < _LEAST:
        return _diagnosis(UNKNOWN, TYPES[UNKNOWN].phase, "low", report, None)
    best = found[0]
    others = [finding.score for finding in found[1:] if not finding.rule.is_vague]
    confidence = _confidence(best, others[0] if others else 0.0)
    return _diagnosis(best.rule.type, _phase(best.rule, report.near(best.line)), confidence, report, best)


def findings(report: Report) -> list[Finding]:
    """Return what speaks for each kind of failure, the strongest first."""
    by_type: dict[str, list[Finding]] = {}
    search = Search(report, _index())
    for rule in _HEAVIEST_FIRST:
        finding = _ask(rule, report, search)
        if finding:
            by_type.setdefault(rule.type, []).append(finding)
    return sorted(map(_together, by_type.values()), key=lambda finding: -finding.score)


@cache
def _index() -> Index:
    return Index(pattern for rule in RULES for pattern in (*rule.patterns, *rule.unless))


def _ask(rule: Rule, report: Report, search: Search) -> Finding | None:
    best: Finding | None = None
    for pattern in search.possible(rule.patterns):
        for line in search.lines(pattern):
            score = rule.weight * (_TRUST_ANYWHERE if rule.anywhere else _TRUST)[line.role]
            if best is None or score > best.score:
                best = Finding(score, rule, line)
            if score >= rule.weight:
                break
        if best is not None and best.score >= rule.weight:
            break
    if best is None or _vetoed(rule, best.line, search):
        return None
    if rule.when and not rule.when(report.near(best.line)):
        return None
    return best


def _vetoed(rule: Rule, line: Line, search: Search) -> bool:
    least = min(_ENOUGH_FOR_A_VETO, _TRUST[line.role])
    unless = search.possible(rule.unless)
    return any(_TRUST[other.role] >= least for pattern in unless for other in search.lines(pattern))


def _together(found: list[Finding]) -> Finding:
    found.sort(key=lambda finding: -finding.score)
    best = found[0]
    others = sum(not finding.rule.is_vague for finding in found[1:])
    return Finding(best.score + _ANOTHER_RULE * min(others, 2), best.rule, best.line)


def _phase(rule: Rule, report: Report) -> str:
    phase = rule.phase(report) if callable(rule.phase) else rule.phase
    return phase or TYPES[rule.type].phase


def _confidence(best: Finding, second_score: float) -> Confidence:
    margin = best.score - second_score
    is_own = best.line.role == "error" and not best.line.text.startswith("{")
    least, clear = _SURE_OF_ERRORS if is_own else _SURE_OF_OTHERS
    if best.score >= least and margin >= clear:
        return "high"
    least, clear = _MEDIUM
    return "medium" if best.score >= least and margin >= clear else "low"


def _diagnosis(name: str, phase: str, confidence: Confidence, report: Report, finding: Finding | None) -> Diagnosis:
    kind = TYPES[name]
    return Diagnosis(
        error_type=name,
        error_phase=phase,
        description=kind.meaning,
        confidence=confidence,
        suggestions=advise(kind, report, finding.line if finding else None),
        retryable=kind.retryable,
        rule=finding.rule.name if finding else None,
        line=finding.line.text if finding else None,
    )
