"""The judge of the tests with kills finds what it looks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from real.chaos import STOP_SLACK_S, Fleet, _overlap, _runs, _takeovers_s

FIRST, SECOND = 11, 22
"""Programs, by their pids."""

Tell = Callable[[str, int, float], None]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, takes_s=1.0, settings={})


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    """Return what writes an event of a program into the trace, at a time."""

    def write(event: str, program: int, at_s: float) -> None:
        entry = {"event": event, "prompt": "rain", "run": "r", "program": program, "at_s": at_s}
        with (tmp_path / "trace").open("a", encoding="utf-8") as trace:
            trace.write(json.dumps(entry) + "\n")

    return write


def is_doubled(fleet: Fleet) -> bool:
    return _overlap(_runs(fleet)["rain"])


def test_one_run_after_another_is_fine(fleet: Fleet, tell: Tell) -> None:
    tell("submitted", FIRST, 1.0)
    tell("cancelled", FIRST, 2.0)
    tell("resumed", SECOND, 2.1)
    tell("finished", SECOND, 3.0)

    assert not is_doubled(fleet)
    assert list(_takeovers_s(_runs(fleet)["rain"])) == []


def test_two_programs_at_once_are_found(fleet: Fleet, tell: Tell) -> None:
    tell("submitted", FIRST, 1.0)
    tell("resumed", SECOND, 1.9)
    tell("finished", FIRST, 2.0)
    tell("finished", SECOND, 3.0)

    assert is_doubled(fleet)


@pytest.mark.parametrize("ends", [0, 1, 2])
def test_one_program_that_works_twice_at_once_is_found(fleet: Fleet, tell: Tell, ends: int) -> None:
    tell("submitted", FIRST, 1.0)
    tell("resumed", FIRST, 1.5)
    for number in range(ends):
        tell("finished", FIRST, 2.0 + number)

    assert is_doubled(fleet)


def test_a_killed_program_is_taken_over_from(fleet: Fleet, tell: Tell) -> None:
    fleet.deaths_s[FIRST] = 2.0
    tell("submitted", FIRST, 1.0)
    tell("resumed", SECOND, 12.0)
    tell("finished", SECOND, 13.0)

    assert not is_doubled(fleet)
    assert list(_takeovers_s(_runs(fleet)["rain"])) == [10.0]


@pytest.mark.parametrize(
    ("was_asked", "early_s", "expected"),
    [(True, STOP_SLACK_S - 0.05, False), (True, STOP_SLACK_S + 0.05, True), (False, 0.05, True)],
    ids=["within the slack", "beyond it", "killed"],
)
def test_the_death_of_a_program_that_was_asked_to_stop_may_be_noted_late(
    fleet: Fleet, tell: Tell, was_asked: bool, early_s: float, expected: bool
) -> None:
    fleet.deaths_s[FIRST] = 2.0
    if was_asked:
        fleet.stopped.add(FIRST)
    tell("submitted", FIRST, 1.0)
    tell("resumed", SECOND, 2.0 - early_s)
    tell("finished", SECOND, 3.0)

    assert is_doubled(fleet) is expected
