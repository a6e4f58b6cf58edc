"""Whatever is killed, an acknowledged job ends, once, and is not made twice at the same time.

`python -m bench.jobs` does the same with all rounds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from real.chaos import Client, Fleet, MakeFleet, judge, storm, strike_anyone, strike_the_only_server
from real.programs import JSON, wait_for

pytestmark = pytest.mark.real

STOP_LIMIT_S = 25.0
CANCEL_LIMIT_S = 2.0
THAWED_LIMIT_S = 10.0
LONG_S = 20.0
"""Of a piece that does not wait for a process that stops: longer than jobs are given to finish."""


def prompts(name: str, count: int) -> list[str]:
    return [f"{name} {number}" for number in range(count)]


def running(fleet: Fleet) -> int:
    """Return how many pieces the engine has begun."""
    return len(fleet.traced("submitted"))


def test_killing_the_service_loses_no_job(make_fleet: MakeFleet, tmp_path: Path) -> None:
    fleet = make_fleet(takes_s=2.0, STUDIO_JOB_WORKERS="16")
    client = Client(fleet)
    fleet.add_server()

    for number in range(2):
        storm(client, prompts(f"round {number}, piece", 20), strike_the_only_server, random.Random(number))

    verdict = judge(client)
    assert verdict.is_clean, verdict
    assert verdict.succeeded == 40, verdict
    assert verdict.takeovers_s, "nothing was running when it was killed"
    (file,) = (tmp_path / "data").glob("*.sqlite")
    assert file.stat().st_mode & 0o077 == 0, "others may read the prompts"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_killing_workers_and_replicas_loses_no_job(make_fleet: MakeFleet, database_url: str) -> None:
    fleet = make_fleet(takes_s=2.0, STUDIO_DATABASE_URL=database_url, STUDIO_JOB_WORKERS="6")
    client = Client(fleet)
    for _ in range(2):
        fleet.add_server()
    for _ in range(3):
        fleet.add_worker()

    storm(client, prompts("piece", 40), strike_anyone, random.Random(1))

    verdict = judge(client)
    assert verdict.is_clean, verdict
    assert verdict.succeeded == 40, verdict
    assert verdict.takeovers_s, "nothing was running when it was killed"


def test_two_services_on_one_folder_make_each_piece_once(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(takes_s=1.0, STUDIO_JOB_WORKERS="8")
    client = Client(fleet)
    first, _ = fleet.add_server(), fleet.add_server("--workers", "2")

    with ThreadPoolExecutor(8) as pool:
        client.submit_many(prompts("before", 10), pool)
        fleet.kill(first)
        client.submit_many(prompts("after", 6), pool)
    client.wait()

    verdict = judge(client)
    assert verdict.is_clean, verdict
    assert verdict.succeeded == 16, verdict


def test_a_service_that_is_asked_to_stop_does_so_in_time_and_its_job_goes_on_later(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(takes_s=LONG_S)
    client = Client(fleet)
    server = fleet.add_server()
    client.submit("a long piece", seed=500)
    wait_for(lambda: running(fleet) == 1)

    took_s = fleet.stop(server)

    assert took_s < STOP_LIMIT_S
    assert server.process.returncode == 0
    assert server.stderr == ""
    fleet.add_server()
    client.wait()
    verdict = judge(client)
    assert (verdict.succeeded, verdict.lost, verdict.doubled, verdict.changed) == (1, [], [], [])
    assert verdict.paid_again == 0


def test_a_worker_that_is_asked_to_stop_leaves_its_job_to_the_others(make_fleet: MakeFleet, database_url: str) -> None:
    fleet = make_fleet(takes_s=LONG_S, STUDIO_DATABASE_URL=database_url)
    client = Client(fleet)
    fleet.add_server()
    first = fleet.add_worker()
    client.submit("a secret wish", seed=500)
    wait_for(lambda: running(fleet) == 1)

    fleet.add_worker()
    took_s = fleet.stop(first)

    assert took_s < STOP_LIMIT_S
    assert first.process.returncode == 0
    client.wait()
    verdict = judge(client)
    assert (verdict.succeeded, verdict.lost, verdict.doubled, verdict.changed) == (1, [], [], [])
    assert verdict.paid_again == 0
    assert first.stderr == ""
    written = json.dumps(first.log)  # every line is JSON
    assert "secret wish" not in written
    assert database_url not in written


def test_one_key_sent_fifty_times_over_two_processes_is_one_generation(
    make_fleet: MakeFleet, database_url: str
) -> None:
    fleet = make_fleet(takes_s=0.5, STUDIO_DATABASE_URL=database_url)
    for _ in range(2):
        fleet.add_server()
    fleet.add_worker()
    headers = {**JSON, "Idempotency-Key": "the same"}

    def post(number: int) -> tuple[int, str | None]:
        server = fleet.servers[number % 2]
        answer = server.request("POST", "/api/jobs", body=b'{"prompt": "rain"}', headers=headers)
        return answer.status, answer.json.get("id")

    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(post, range(50)))

    ((status, job_id),) = answers
    assert status == 202
    client = Client(fleet, jobs={str(job_id): "rain"})
    client.wait()
    assert client.ends[str(job_id)]["status"] == "succeeded"
    assert [entry["event"] for entry in fleet.trace()] == ["submitted", "finished"]


def test_a_running_job_is_cancelled_within_two_seconds_from_any_replica(
    make_fleet: MakeFleet, database_url: str
) -> None:
    fleet = make_fleet(takes_s=60.0, STUDIO_DATABASE_URL=database_url)
    client = Client(fleet)
    fleet.add_server()
    fleet.add_worker()
    job_id = client.submit("a long piece")
    wait_for(lambda: running(fleet) == 1)

    asked_s = time.monotonic()
    fleet.request("DELETE", f"/api/jobs/{job_id}")
    client.wait()

    assert client.ends[job_id]["status"] == "cancelled"
    assert time.monotonic() - asked_s < CANCEL_LIMIT_S + 0.5  # what the client itself takes to notice
    assert fleet.trace()[-1]["event"] == "cancelled"


def test_whoever_wins_a_race_of_cancelling_and_finishing_has_won(make_fleet: MakeFleet) -> None:
    """Jobs are cancelled all around the moment at which they finish; each ends once, with or without a file."""
    # The first is cancelled long before its end and the last long after it, so that each side wins at least once.
    cancelled_after_s = [0.8, *(1.6 + 0.05 * number for number in range(14)), 3.0]
    fleet = make_fleet(takes_s=2.0, STUDIO_JOB_WORKERS="16")
    client = Client(fleet)
    fleet.add_server()
    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda number: client.submit(f"piece {number}", seed=500), range(16)))
        wait_for(lambda: running(fleet) == 16)
        began_s = {entry["prompt"]: entry["at_s"] for entry in fleet.trace() if entry["event"] == "submitted"}

        def cancel(number: int) -> None:
            time.sleep(max(0.0, began_s[f"piece {number}"] + cancelled_after_s[number] - time.monotonic()))
            job = client.status(ids[number])
            if job is not None and job["status"] == "running":
                fleet.request("DELETE", f"/api/jobs/{ids[number]}")

        list(pool.map(cancel, range(16)))
    # A job that finished between the look and the DELETE was deleted, as it should be: its id is gone.
    client.jobs = {each: prompt for each, prompt in client.jobs.items() if not is_gone(fleet, each)}
    client.wait()

    verdict = judge(client)
    assert (verdict.lost, verdict.doubled, verdict.changed) == ([], [], [])
    assert {end["status"] for end in client.ends.values()} == {"succeeded", "cancelled"}
    for job_id, end in client.ends.items():
        audio = fleet.request("GET", f"/api/jobs/{job_id}/audio")
        assert (audio.status == 200) == (end["status"] == "succeeded")


def is_gone(fleet: Fleet, job_id: str) -> bool:
    return fleet.request("GET", f"/api/status/{job_id}").status == 410


def test_a_frozen_worker_does_not_end_a_job_that_another_has_ended(make_fleet: MakeFleet, database_url: str) -> None:
    """A frozen worker looks dead. When it thaws it may find its work done; what was told to the caller stays."""
    fleet = make_fleet(takes_s=6.0, STUDIO_DATABASE_URL=database_url)
    client = Client(fleet)
    fleet.add_server()
    frozen = fleet.add_worker()
    client.submit("piece", seed=500)
    wait_for(lambda: running(fleet) == 1)

    os.kill(frozen.pid, signal.SIGSTOP)
    fleet.add_worker()
    client.wait()
    os.kill(frozen.pid, signal.SIGCONT)

    assert frozen.process.wait(timeout=THAWED_LIMIT_S) == 1
    verdict = judge(client)
    assert (verdict.succeeded, verdict.lost, verdict.changed) == (1, [], [])
