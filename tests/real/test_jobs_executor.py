"""Who may run jobs, and what becomes of those of a process that stops, dies, or cannot begin."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from fakes import FakeClock, FakeEngine
from real.chaos import Client, Fleet, MakeFleet
from real.programs import wait_for

from app.engines.engine import Brief
from app.jobs.executor import BEAT_S, DEAD_AFTER_S, BeatingSeat, Embedded, Executor, LockedSeat, SeatLost
from app.jobs.job import JobRequest
from app.jobs.parts import FAILURE_GOOD_S, LateParts, Parts, open_parts
from app.jobs.tables import EXECUTORS
from app.settings import Settings
from app.studio import Studio

pytestmark = pytest.mark.real

IDLE_STOP_LIMIT_S = 5.0


def events(fleet: Fleet) -> list[str]:
    return [entry["event"] for entry in fleet.trace()]


# ---------------------------------------------------------------------- seats


def test_a_folder_has_one_seat(tmp_path: Path) -> None:
    one, other = LockedSeat(tmp_path), LockedSeat(tmp_path)

    assert one.take()
    assert not other.take()
    one.leave()
    assert other.take()
    other.leave()


def test_a_seat_that_was_given_away_is_lost(database_url: str) -> None:
    with _seat(database_url) as seat:
        seat.take()
        seat.keep()
        with seat._database.writing() as connection:
            connection.execute(sa.delete(EXECUTORS))

        with pytest.raises(SeatLost):
            seat.keep()


def test_leaving_frees_the_seat_at_once(database_url: str) -> None:
    with _seat(database_url) as seat:
        seat.take()
        seat.leave()

        with seat._database.reading() as connection:
            assert connection.execute(sa.select(EXECUTORS)).all() == []


def test_nobody_is_buried_after_an_outage_that_silenced_everybody(database_url: str) -> None:
    """Who could not beat for a while must not conclude from the others' silence that they are dead."""
    now_s = 1_000.0
    with _seat(database_url, clock=lambda: now_s) as seat:
        seat.take()
        _add_silent_executor(seat)

        now_s += DEAD_AFTER_S + 1  # the database was away
        for _ in range(4):
            seat.keep()
            seat.take_over()
            now_s += BEAT_S
        assert len(_executors(seat)) == 2


@contextmanager
def _seat(database_url: str, *, clock: Callable[[], float] = time.monotonic) -> Iterator[BeatingSeat]:
    parts = open_parts(Settings.model_validate({"STUDIO_DATABASE_URL": database_url}), engine_name="fake")
    yield BeatingSeat(parts.database, clock=clock)
    parts.database.close()


def _add_silent_executor(seat: BeatingSeat) -> None:
    with seat._database.writing() as connection:
        long_ago_s = time.time() - 10 * DEAD_AFTER_S
        connection.execute(sa.insert(EXECUTORS).values(id="silent", started_at_s=long_ago_s, beat_at_s=long_ago_s))


def _executors(seat: BeatingSeat) -> list[str]:
    with seat._database.reading() as connection:
        return list(connection.execute(sa.select(EXECUTORS.c.id)).scalars())


# ---------------------------------------------------------------------- beginning


def test_an_executor_begins_once_its_folder_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.write_text("in the way")
    settings = Settings.model_validate({"STUDIO_DATA_DIR": folder})
    parts = LateParts(settings, engine_name="fake")
    embedded = Embedded(Executor(settings, Studio([FakeEngine()], max_active=1), parts))
    embedded.start()
    try:
        wait_for(embedded.health)
        folder.unlink()
        wait_for(lambda: embedded.health() is None)
        job_id = parts().jobs.submit(JobRequest(Brief("rain", 5.0, seed=1)), owner="", request_id="r").job.id
        wait_for(lambda: parts().jobs.get(job_id).status == "succeeded")
    finally:
        embedded.stop()
        embedded.join(20)
    parts().database.close()


def test_callers_who_wait_for_one_opening_share_its_failure(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.write_text("in the way")
    clock = FakeClock()
    parts = LateParts(Settings.model_validate({"STUDIO_DATA_DIR": folder}), engine_name="fake", clock=clock)
    failures: list[Exception] = []

    def ask() -> None:
        try:
            parts()
        except Exception as error:  # noqa: BLE001 - counted below
            failures.append(error)

    callers = [threading.Thread(target=ask) for _ in range(8)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()

    assert {type(error).__name__ for error in failures} == {"JobStoreUnavailable"}
    assert len(failures) == 8
    folder.unlink()
    clock.now_s += FAILURE_GOOD_S
    parts().database.close()


def test_who_finishes_its_last_jobs_is_not_taken_for_dead(database_url: str) -> None:
    settings = Settings.model_validate({"STUDIO_DATABASE_URL": database_url})
    started, finishing = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        finishing.wait(30)

    parts = LateParts(settings, engine_name="fake")
    studio = Studio([FakeEngine(while_working=work)], max_active=1)
    embedded = Embedded(Executor(settings, studio, parts))
    embedded.start()
    try:
        job_id = parts().jobs.submit(JobRequest(Brief("rain", 5.0, seed=1)), owner="", request_id="r").job.id
        assert started.wait(30)
        embedded.stop()
        first_beats = _beats(parts())
        wait_for(lambda: _beats(parts()) > first_beats)
    finally:
        finishing.set()
        embedded.stop()
        embedded.join(20)

    assert parts().jobs.get(job_id).status == "succeeded"
    assert _beats(parts()) == []
    parts().database.close()


def test_who_still_works_when_its_time_is_over_keeps_its_seat(tmp_path: Path) -> None:
    """Another process would begin the same attempt, while this one is still at it."""
    settings = Settings.model_validate({"STUDIO_DATA_DIR": tmp_path})
    started, finishing = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        finishing.wait(30)

    parts = LateParts(settings, engine_name="fake")
    executor = Executor(settings, Studio([FakeEngine(while_working=work)], max_active=1), parts)
    running = threading.Thread(target=lambda: executor.run(finish_s=1))
    running.start()
    other = LockedSeat(tmp_path)
    try:
        parts().jobs.submit(JobRequest(Brief("rain", 5.0, seed=1)), owner="", request_id="r")
        assert started.wait(30)
        executor.stop()
        running.join(20)

        assert not running.is_alive()
        assert not other.take()
        executor.leave()
        assert other.take()
    finally:
        finishing.set()
        executor.stop()
        running.join(20)
        other.leave()
    parts().database.close()


def _beats(parts: Parts) -> list[float]:
    with parts.database.reading() as connection:
        return list(connection.execute(sa.select(EXECUTORS.c.beat_at_s)).scalars())


# ---------------------------------------------------------------------- programs


def test_after_a_kill_the_work_of_the_upstream_goes_on(make_fleet: MakeFleet) -> None:
    """The upstream has the job, the service dies: nothing is submitted, and paid for, a second time."""
    fleet = make_fleet(takes_s=4.0)
    client = Client(fleet)
    server = fleet.add_server()
    job_id = client.submit("piece", seed=500)
    wait_for(lambda: _ticket_is_kept(fleet, job_id))

    fleet.kill(server)
    fleet.add_server()
    client.wait()

    assert client.ends[job_id]["status"] == "succeeded"
    assert events(fleet) == ["submitted", "resumed", "finished"]
    assert len({entry["run"] for entry in fleet.trace()}) == 1


def _ticket_is_kept(fleet: Fleet, job_id: str) -> bool:
    job = Client(fleet).status(job_id)
    return job is not None and job["status"] == "running" and job["progress"] == 0.1


def test_of_two_services_on_one_folder_both_are_ready_and_stop_at_once(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(takes_s=0.1)
    servers = [fleet.add_server(), fleet.add_server()]

    for server in servers:
        assert server.request("GET", "/ready").status == 200
    for server in servers:
        assert fleet.stop(server) < IDLE_STOP_LIMIT_S
        assert server.process.returncode == 0
        assert server.stderr == ""


def test_a_worker_that_was_taken_for_dead_ends(make_fleet: MakeFleet, database_url: str) -> None:
    fleet = make_fleet(takes_s=60.0, STUDIO_DATABASE_URL=database_url)
    client = Client(fleet)
    fleet.add_server()
    worker = fleet.add_worker()
    client.submit("piece")
    wait_for(lambda: events(fleet) == ["submitted"])

    parts = open_parts(Settings.model_validate({"STUDIO_DATABASE_URL": database_url}), engine_name="slow")
    with parts.database.writing() as connection:
        connection.execute(sa.delete(EXECUTORS))
    parts.database.close()

    assert worker.process.wait(timeout=10) == 1
    assert "taken for dead" in json.dumps(worker.log)


def test_all_workers_together_keep_to_the_limit(make_fleet: MakeFleet, database_url: str) -> None:
    fleet = make_fleet(takes_s=1.0, STUDIO_DATABASE_URL=database_url, STUDIO_JOB_GLOBAL_LIMIT="2")
    client = Client(fleet)
    fleet.add_server()
    for _ in range(2):
        fleet.add_worker()
    for number in range(6):
        client.submit(f"piece {number}", seed=500)
    client.wait()

    assert {end["status"] for end in client.ends.values()} == {"succeeded"}
    at_once, most = 0, 0
    for entry in fleet.trace():
        at_once += {"submitted": 1, "finished": -1}[entry["event"]]
        most = max(most, at_once)
    assert most == 2
