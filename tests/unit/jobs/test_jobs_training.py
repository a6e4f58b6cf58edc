"""What is kept about training runs elsewhere, on SQLite and on Postgres."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from job_samples import TTL_S, TickingClock

from app.jobs.database import Database, open_database
from app.jobs.training import TrainingRun, TrainingRuns
from app.settings import Settings

CONFIG = {"per_device_train_batch_size": 8, "name": "é\ud800\0"}


@pytest.fixture
def runs(database: Database, clock: TickingClock) -> TrainingRuns:
    return TrainingRuns(database, ttl_s=TTL_S, max_runs=3, max_bytes=100, clock=clock)


def put(runs: TrainingRuns, id: str, *, owner: str = "ann", error: str | None = "boom") -> bool:
    return runs.put(owner, id, status="failed", error=error, config=None)[1]


def kept(runs: TrainingRuns, ids: str, *, owner: str = "ann") -> str:
    return "".join(each for each in ids if runs.get(owner, each))


def test_a_run_is_read_as_it_was_written(runs: TrainingRuns, clock: TickingClock) -> None:
    run, is_new = runs.put("ann", "run-1", status="failed", error="boom 🎵", config=CONFIG)

    assert is_new
    assert run == TrainingRun("run-1", "failed", "boom 🎵", CONFIG, run.updated_at_s, run.updated_at_s + TTL_S)
    assert runs.get("ann", "run-1") == run


def test_a_run_is_written_over(runs: TrainingRuns) -> None:
    assert put(runs, "a")
    run, is_new = runs.put("ann", "a", status="running", error=None, config=None)

    assert not is_new
    assert runs.get("ann", "a") == run
    assert (run.status, run.error, run.config) == ("running", None, None)


def test_callers_do_not_see_each_other(runs: TrainingRuns) -> None:
    put(runs, "a", owner="ann")

    assert runs.get("bob", "a") is None
    assert put(runs, "a", owner="bob", error="mine")
    found = runs.get("ann", "a")
    assert found
    assert found.error == "boom"


def test_of_many_runs_the_newest_are_kept(runs: TrainingRuns) -> None:
    put(runs, "x", owner="bob")
    for each in "abcd":
        put(runs, each)
    put(runs, "b")  # which makes it the newest
    put(runs, "e")

    assert kept(runs, "abcde") == "bde"
    assert kept(runs, "x", owner="bob") == "x"


def test_of_much_text_the_newest_is_kept(runs: TrainingRuns) -> None:
    put(runs, "a", error="é" * 30)
    put(runs, "b", error="x" * 40)
    assert kept(runs, "ab") == "ab"

    put(runs, "c", error="x")

    assert kept(runs, "abc") == "bc"
    put(runs, "d", error="x" * 1_000)
    assert kept(runs, "abcd") == "d"


def test_a_run_is_kept_for_its_time(runs: TrainingRuns, clock: TickingClock) -> None:
    put(runs, "a")
    clock.now_s += TTL_S - 1
    put(runs, "b")
    assert kept(runs, "ab") == "ab"
    assert runs.sweep() == 0

    clock.now_s += 2

    assert kept(runs, "ab") == "b"
    assert put(runs, "a"), "what has expired is not there, swept or not"
    clock.now_s += TTL_S
    assert runs.sweep() == 2


def test_runs_survive_the_process(database_settings: Settings, runs: TrainingRuns, clock: TickingClock) -> None:
    put(runs, "a")

    other = open_database(database_settings)
    assert TrainingRuns(other, ttl_s=TTL_S, clock=clock).get("ann", "a")
    other.close()


def test_who_write_at_the_same_time_leave_one_run(runs: TrainingRuns) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: put(runs, "a", error=f"{number}"), range(40)))

    found = runs.get("ann", "a")
    assert found
    assert found.error in {str(number) for number in range(40)}


def test_who_write_at_the_same_time_make_room_one_after_the_other(runs: TrainingRuns) -> None:
    """Or two would each wait for a row that the other one has written and is about to delete."""
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: put(runs, "abcdef"[number % 6]), range(300)))

    assert len(kept(runs, "abcdef")) == 3


def test_what_was_written_over_leaves_the_disk(sqlite_settings: Settings) -> None:
    database = open_database(sqlite_settings)
    database.migrate()
    runs = TrainingRuns(database, ttl_s=TTL_S)
    put(runs, "a", error="a secret of 16 B")
    put(runs, "a", error="nothing")

    runs.sweep()

    assert not [each.name for each in sqlite_settings.data_dir.iterdir() if b"a secret of 16 B" in each.read_bytes()]
