"""The tables of rules: each row is sound, and explains its own example."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest

from app.failures import PHASES, TYPES, UNKNOWN, Evidence, analyse
from app.failures.patterns import MIN_PIECE_CHARS, required_pieces
from app.failures.rule import Rule
from app.failures.rules import RULES

PATTERNS = sorted({pattern for rule in RULES for pattern in (*rule.patterns, *rule.unless)})
LONGEST_LINE_CHARS = 700
SLOWEST_PATTERN_S = 0.1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_explains_its_own_example(rule: Rule) -> None:
    """This also shows that no other rule takes the example away."""
    diagnosis = analyse(Evidence(rule.example, config=rule.config))

    assert diagnosis.error_type == rule.type, f"{diagnosis.rule} decided: {diagnosis.line}"


def test_no_two_rules_have_the_same_name() -> None:
    assert [name for name, count in Counter(rule.name for rule in RULES).items() if count > 1] == []


def test_every_kind_but_unknown_has_rules() -> None:
    assert {rule.type for rule in RULES} == set(TYPES) - {UNKNOWN}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_is_well_formed(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert 0 < rule.weight <= 100
    assert rule.patterns
    if isinstance(rule.phase, str):
        assert rule.phase in PHASES


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_pattern_has_a_piece_to_be_found_by(rule: Rule) -> None:
    """Without one it would have to be tried on every line of every report."""
    lacking = [
        p for p in (*rule.patterns, *rule.unless) if min(map(len, required_pieces(p)), default=0) < MIN_PIECE_CHARS
    ]

    assert lacking == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_patterns_are_in_small_letters(rule: Rule) -> None:
    """They are searched for in small letters; classes such as \\W may be written in capitals."""
    letters = [re.sub(r"\\.", "", pattern) for pattern in (*rule.patterns, *rule.unless)]

    assert [pattern for pattern in letters if pattern != pattern.lower()] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_pattern_repeats_without_bound(rule: Rule) -> None:
    """`*` and `+` after a class or group are how patterns become catastrophic; a letter alone repeats harmlessly."""
    shapes = [re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "C", p) for p in (*rule.patterns, *rule.unless)]
    unbounded = [shape for shape in shapes if re.search(r"[.C)][*+]|\{\d*,\}", shape)]

    assert unbounded == []


def adversarial_lines(pattern: str) -> list[str]:
    """Return lines that nearly match, again and again: the pattern's own pieces, with everything that a gap may hold."""
    pieces = [*required_pieces(pattern), *re.findall(r"[a-z]{3,}", pattern)]
    lines = [
        "a" * LONGEST_LINE_CHARS,
        " " * LONGEST_LINE_CHARS,
        "a " * (LONGEST_LINE_CHARS // 2),
        ": \"'" * (LONGEST_LINE_CHARS // 4),
    ]
    for filler in ("", " ", "a", " a ", "1", "_", ".", "'"):
        lines.append((filler.join(pieces) * LONGEST_LINE_CHARS)[:LONGEST_LINE_CHARS])
        lines += [((piece + filler) * LONGEST_LINE_CHARS)[:LONGEST_LINE_CHARS] for piece in pieces[:3]]
    return lines


def test_no_pattern_is_slow_on_lines_made_against_it() -> None:
    """The limit is a hundred times what the slowest takes on a quiet machine, and a thousandth of what a bad one would."""
    slow = []
    for pattern in PATTERNS:
        search = re.compile(pattern).search
        lines = adversarial_lines(pattern)
        started = time.process_time()
        for line in lines:
            search(line)
        elapsed_s = time.process_time() - started
        if elapsed_s > SLOWEST_PATTERN_S:
            slow.append((round(elapsed_s, 3), pattern))

    assert slow == []
