"""The disk and the database fail: clear errors, no acknowledged job lost, and recovery without a restart."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from real.chaos import Client, MakeFleet, judge
from real.postgres import Postgres
from real.programs import Answer, Server
from real.small_disk import Tmpfs, small_disk

pytestmark = pytest.mark.real

OUTAGE_S = 10.0
SILENCE_S = 4.0
REFUSAL_LIMIT_S = 20.0
RECOVERY_LIMIT_S = 30.0


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


def wait_until_ready(server: Server) -> None:
    give_up_at = time.monotonic() + RECOVERY_LIMIT_S
    while (answer := server.request("GET", "/ready")).status != 200:
        assert time.monotonic() < give_up_at, answer.content
        time.sleep(0.2)


def assert_a_new_job_succeeds(client: Client, prompt: str) -> None:
    job_id = client.submit(prompt)
    client.wait()
    assert client.ends[job_id]["status"] == "succeeded", client.ends[job_id]


def test_a_full_disk_refuses_jobs_and_keeps_those_it_took(make_fleet: MakeFleet, tmp_path: Path) -> None:
    with small_disk(tmp_path / "data") as disk:
        fleet = make_fleet(takes_s=3.0)
        client = Client(fleet)
        server = fleet.add_server()
        client.submit("taken before")

        disk.fill(server)
        refused = post(server)
        time.sleep(5)  # the piece is finished meanwhile, and cannot be written
        disk.free(server)

        assert_refused(refused)
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
        server = fleet.add_server()

        assert_refused(post(server))
        assert_healthy_but_not_ready(server)
        if isinstance(disk, Tmpfs):
            disk.set_writable(writable=True)
        else:
            folder.chmod(0o700)

        wait_until_ready(server)
        assert_a_new_job_succeeds(Client(fleet), "piece")
        fleet.end()


def test_a_database_that_is_gone_for_a_while_comes_back_to_all_its_jobs(
    make_fleet: MakeFleet, postgres: Postgres, database_url: str
) -> None:
    fleet = make_fleet(takes_s=4.0, STUDIO_DATABASE_URL=database_url)
    client = Client(fleet)
    server, worker = fleet.add_server(), fleet.add_worker()
    for number in range(6):  # more than a worker takes at a time
        client.submit(f"taken before {number}", seed=500)
    time.sleep(2)

    postgres.stop()
    try:
        refused = post(server)
        assert_healthy_but_not_ready(server)
        time.sleep(OUTAGE_S)
    finally:
        postgres.start()

    assert_refused(refused)
    wait_until_ready(server)
    assert_a_new_job_succeeds(client, "taken after")
    assert worker.process.poll() is None, "the worker gave up"
    verdict = judge(client)
    assert (verdict.lost, verdict.doubled, verdict.changed) == ([], [], [])
    assert verdict.succeeded == 7, client.ends


def test_a_database_that_answers_nobody_for_a_while_delays_and_loses_nothing(
    make_fleet: MakeFleet, postgres: Postgres, database_url: str
) -> None:
    """As when its disk stands still: the connections stay open, and only silence comes over them."""
    fleet = make_fleet(takes_s=2.0, STUDIO_DATABASE_URL=database_url)
    client = Client(fleet)
    server = fleet.add_server()
    fleet.add_worker()
    client.submit("taken before", seed=500)

    postgres.pause()
    try:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(client.submit, "asked meanwhile", seed=500)
            assert server.request("GET", "/health").status == 200
            time.sleep(SILENCE_S)
            assert not asked.done()
            postgres.resume()
    finally:
        postgres.resume()

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
        assert answer.status in (410, 500, 502, 503)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert str(tmp_path) not in answer.content.decode()
    assert repaired.status == 200
    assert repaired.content == whole
