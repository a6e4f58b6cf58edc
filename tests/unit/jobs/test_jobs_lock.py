"""The lock of a data folder can be seen by who does not want it."""

from __future__ import annotations

from pathlib import Path

from app.jobs.executor import LockedSeat
from app.jobs.lock import is_held


def test_who_only_looks_sees_whether_somebody_has_it(tmp_path: Path) -> None:
    seat = LockedSeat(tmp_path)

    before = is_held(tmp_path / "nowhere"), is_held(tmp_path)
    assert seat.take()
    meanwhile = is_held(tmp_path), is_held(tmp_path)
    seat.leave()
    after = is_held(tmp_path)

    assert before == (False, False)
    assert meanwhile == (True, True)
    assert not after


def test_looking_leaves_the_lock_to_who_wants_it(tmp_path: Path) -> None:
    seat = LockedSeat(tmp_path)
    is_held(tmp_path)

    assert seat.take()
    is_held(tmp_path)
    assert not LockedSeat(tmp_path).take()
    seat.leave()
    is_held(tmp_path)
    assert LockedSeat(tmp_path).take()
