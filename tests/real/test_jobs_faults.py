"""The disk and the database fail: clear errors, no acknowledged job lost, and recovery without a restart."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from real.chaos import Client, MakeFleet, judge
from real.postgres import Postgres
from real.programs import Answer, Server, wait_for
from real.small_disk import Tmpfs, small_disk

pytestmark = pytest.mark.real

OUTAGE_S = 10.0
SILENCE_S = 4.0
WRITE_S = 1.0
REFUSAL_LIMIT_S = 20.0
JOB_WORKERS = 4


def post(server: Server) -> Answer:
    return server.request("POST", "/api/jobs", body=b'{"prompt": "rain"}')


def assert_refused(answer: Answer) -> None:
    assert answer.status == 503, answer.content
    assert answer.json["code"] == "job-store-unavailable"
    assert answer.json["retryable"] is True
    assert answer.elapsed_s < REFUSAL_LIMIT_S


def assert_healthy_but_not_ready(server: Server) -> None:
    assert server.request("GET", "/health").status == 200
    ready = server.request("GET", "/ready")
    assert ready.status == 503
    assert "job" in ready.content.decode()


def assert_a_new_job_succeeds(client: Client, prompt: str) -> None:
    job_id = client.submit(prompt)
    client.wait()
    assert client.ends[job_id]["status"] == "succeeded", client.ends[job_id]


def test_a_full_disk_refuses_jobs_and_keeps_those_it_took(make_fleet: MakeFleet, tmp_path: Path) -> None:
    with small_disk(tmp_path / "data") as disk:
        fleet = make_fleet(takes_s=3.0)
        client = Client(fleet)
        server = fleet.add_server()
        job_id = client.submit("taken before", seed=500)
        wait_for(lambda: fleet.traced("submitted") == ["taken before"])

        disk.fill(server)
        refused = post(server)
        assert fleet.traced("finished") == [], "the piece was finished while there was room"
        wait_for(lambda: fleet.traced("finished") == ["taken before"])
        time.sleep(WRITE_S)  # what is finished cannot be written
        meanwhile = client.status(job_id)
        disk.free(server)

        assert_refused(refused)
        assert meanwhile is not None
        assert meanwhile["status"] == "running"
        assert_a_new_job_succeeds(client, "taken after")
        verdict = judge(client)
        assert (verdict.lost, verdict.doubled, verdict.changed) == ([], [], [])
        assert verdict.succeeded == 2, client.ends
        fleet.end()


def test_a_folder_that_cannot_be_written_is_told_and_used_as_soon_as_it_can(
    make_fleet: MakeFleet, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    with small_disk(folder) as disk:
        if isinstance(disk, Tmpfs):
            disk.set_writable(writable=False)
        elif os.geteuid() != 0:
            folder.chmod(0o500)
        else:
            pytest.skip("root may write everywhere, and may not mount anything here")
        fleet = make_fleet(takes_s=0.2)
        server = fleet.add_server(until="up")

        assert_refused(post(server))
        assert_healthy_but_not_ready(server)
        if isinstance(disk, Tmpfs):
            disk.set_writable(writable=True)
        else:
            folder.chmod(0o700)

        server.wait_until_ready()
        assert_a_new_job_succeeds(Client(fleet), "piece")
        fleet.end()


def test_a_database_that_is_gone_for_a_while_comes_back_to_all_its_jobs(
    make_fleet: MakeFleet, postgres: Postgres, database_url: str
) -> None:
    fleet = make_fleet(takes_s=4.0, STUDIO_DATABASE_URL=database_url, STUDIO_JOB_WORKERS=str(JOB_WORKERS))
    client = Client(fleet)
    server, worker = fleet.add_server(), fleet.add_worker()
    for number in range(JOB_WORKERS + 2):  # more than a worker takes at a time
        client.submit(f"taken before {number}", seed=500)
    wait_for(lambda: len(fleet.traced("submitted")) == JOB_WORKERS)
    assert fleet.traced("finished") == []

    postgres.stop()
    try:
        refused = post(server)
        assert_healthy_but_not_ready(server)
        time.sleep(OUTAGE_S)
        assert len(fleet.traced("finished")) == JOB_WORKERS, "pieces go on while the database is away"
        assert len(fleet.traced("submitted")) == JOB_WORKERS
    finally:
        postgres.start()

    assert_refused(refused)
    server.wait_until_ready()
    assert_a_new_job_succeeds(client, "taken after")
    assert worker.process.poll() is None, "the worker gave up"
    verdict = judge(client)
    assert (verdict.lost, verdict.doubled, verdict.changed) == ([], [], [])
    assert verdict.succeeded == JOB_WORKERS + 3, client.ends


def test_a_database_that_answers_nobody_for_a_while_delays_and_loses_nothing(
    make_fleet: MakeFleet, postgres: Postgres, database_url: str
) -> None:
    """As when its disk stands still: the connections stay open, and only silence comes over them."""
    fleet = make_fleet(takes_s=2.0, STUDIO_DATABASE_URL=database_url)
    client = Client(fleet)
    server = fleet.add_server()
    fleet.add_worker()
    client.submit("taken before", seed=500)
    wait_for(lambda: fleet.traced("submitted") == ["taken before"])
    assert fleet.traced("finished") == []

    postgres.pause()
    try:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(client.submit, "asked meanwhile", seed=500)
            assert server.request("GET", "/health").status == 200
            time.sleep(SILENCE_S)
            was_answered, finished = asked.done(), fleet.traced("finished")
            postgres.resume()
    finally:
        postgres.resume()

    assert not was_answered
    assert finished == ["taken before"]
    client.wait()
    verdict = judge(client)
    assert (verdict.lost, verdict.doubled, verdict.changed) == ([], [], [])
    assert verdict.succeeded == 2, client.ends


def test_a_damaged_file_is_never_handed_out(make_fleet: MakeFleet, tmp_path: Path) -> None:
    fleet = make_fleet(takes_s=0.1)
    client = Client(fleet)
    server = fleet.add_server()
    job_id = client.submit("piece")
    client.wait()
    (file,) = (path for path in (tmp_path / "data").rglob(f"*{job_id}*") if path.is_file())
    whole = file.read_bytes()

    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    damaged = server.request("GET", f"/api/jobs/{job_id}/audio")
    file.write_bytes(whole[:100])
    cut = server.request("GET", f"/api/jobs/{job_id}/audio")
    file.write_bytes(whole)
    repaired = server.request("GET", f"/api/jobs/{job_id}/audio")

    for answer in (damaged, cut):
        assert answer.status == 500, answer.content
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["code"] == "result-lost"
        assert str(tmp_path) not in answer.content.decode()
    assert repaired.status == 200
    assert repaired.content == whole
