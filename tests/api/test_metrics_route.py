"""GET /metrics: what a scrape reads after real requests, who may read it, and what it costs the others."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import TONE, FakeEngine, MakeClient
from flask.testing import FlaskClient
from job_service import JobService, MakeService
from metric_samples import Samples, read

from app.errors import JobStoreUnavailable, UpstreamTimeout
from app.jobs.executor import LockedSeat
from app.jobs.job import Census

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"

Captured = pytest.CaptureFixture[str]


def scraped(client: FlaskClient) -> Samples:
    response = client.get("/metrics")
    assert response.status_code == 200, response.text
    return read(response.text)


def value(client: FlaskClient, name: str, **labels: str) -> float | None:
    return scraped(client).get((name, frozenset(labels.items())))


def names(client: FlaskClient) -> set[str]:
    return {name for name, _ in scraped(client)}


# ---------------------------------------------------------------------- what a scrape reads


def test_it_is_prometheus_text_that_nobody_keeps(client: FlaskClient) -> None:
    response = client.get("/metrics")

    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert client.head("/metrics").status_code == 200
    assert client.post("/metrics").status_code == 405


def test_a_piece_shows_in_every_part_of_it(client: FlaskClient) -> None:
    client.post("/studio-generate", json={"prompt": "rain"})

    told = {"route": "/studio-generate", "method": "POST"}
    assert value(client, "studio_http_requests_total", **told, status="200", code="") == 1
    assert value(client, "studio_http_request_duration_seconds_count", **told) == 1
    assert value(client, "studio_http_response_bytes_total", route="/studio-generate") == len(TONE.content)
    assert value(client, "studio_attempts_total", engine="fake", outcome="ok") == 1
    assert value(client, "studio_pieces_total", engine="fake", format="wav") == 1
    assert value(client, "studio_music_seconds_total", engine="fake") == pytest.approx(1.0)
    assert value(client, "studio_places_limit") == 64


def test_failures_are_counted_by_their_code(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(UpstreamTimeout("late"), attempts=1))
    client.post("/studio-generate", json={"prompt": "rain"})
    client.post("/studio-generate", json={})

    told = {"route": "/studio-generate", "method": "POST"}
    assert value(client, "studio_http_requests_total", **told, status="504", code="upstream-timeout") == 1
    assert value(client, "studio_http_requests_total", **told, status="400", code="invalid-request") == 1
    assert value(client, "studio_attempts_total", engine="fake", outcome="upstream-timeout") == 1


def test_who_finds_no_place_is_counted(make_client: MakeClient) -> None:
    clients: list[FlaskClient] = []
    seen: list[float | None] = []

    def while_working() -> None:
        clients[0].post("/studio-generate", json={"prompt": "rain"})
        seen.append(value(clients[0], "studio_places_taken"))

    client = make_client(FakeEngine(while_working=while_working), STUDIO_MAX_ACTIVE=1)
    clients.append(client)
    client.post("/studio-generate", json={"prompt": "rain"})

    assert seen == [1]
    assert value(client, "studio_places_taken") == 0
    assert value(client, "studio_refused_total") == 1


def test_routes_are_templates_however_many_paths_are_asked_for(client: FlaskClient) -> None:
    for n in range(20):
        client.get(f"/api/status/{n:032x}")
        client.get(f"/nowhere/{n}")
        client.open(f"/studio-generate?{n}", method=f"M{n}")

    told = [dict(labels) for name, labels in scraped(client) if name == "studio_http_requests_total"]
    assert {each["route"] for each in told} == {"/api/status/{id}", "none"}
    assert {each["method"] for each in told} == {"GET", "other"}


def test_no_prompt_no_path_and_no_name_is_in_it(make_client: MakeClient) -> None:
    client = make_client(FakeEngine())
    client.post("/studio-generate", json={"prompt": "SECRET", "username": "SECRET"}, headers={"X-Request-ID": "SECRET"})
    client.get("/SECRET?SECRET", headers={"Host": "SECRET", "User-Agent": "SECRET"})

    assert "SECRET" not in client.get("/metrics").text


def test_heads_weigh_nothing(service: JobService) -> None:
    job_id = service.finished()
    service.client.head(f"/api/jobs/{job_id}/audio")
    assert value(service.client, "studio_http_response_bytes_total", route="/api/jobs/{id}/audio") == 0

    service.client.get(f"/api/jobs/{job_id}/audio")

    weighed = value(service.client, "studio_http_response_bytes_total", route="/api/jobs/{id}/audio")
    assert weighed == len(TONE.content)


# ---------------------------------------------------------------------- jobs


def test_jobs_are_counted_by_state(service: JobService) -> None:
    service.finished()
    service.submit()

    told = scraped(service.client)
    jobs = {dict(labels)["status"]: count for (name, labels), count in told.items() if name == "studio_jobs"}
    assert jobs == {"queued": 1, "running": 0, "succeeded": 1, "failed": 0, "cancelled": 0}
    assert told["studio_job_database_up", frozenset()] == 1
    assert 0 <= told["studio_job_queue_age_seconds", frozenset()] < 60


def test_many_scrapes_ask_the_database_once(service: JobService, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    count = service.jobs.census

    def census() -> Census:
        asked.append(1)
        return count()

    monkeypatch.setattr(service.jobs, "census", census)
    for _ in range(5):
        assert "studio_jobs" in names(service.client)

    assert len(asked) == 1


def away() -> Census:
    raise JobStoreUnavailable("away")


def broken() -> Census:
    raise ValueError("a mistake of ours")


@pytest.mark.parametrize("census", [away, broken])
def test_a_database_that_is_away_fails_no_scrape(
    service: JobService, monkeypatch: pytest.MonkeyPatch, census: Callable[[], Census]
) -> None:
    monkeypatch.setattr(service.jobs, "census", census)

    told = scraped(service.client)

    assert told["studio_job_database_up", frozenset()] == 0
    assert not {"studio_jobs", "studio_job_queue_age_seconds"} & {name for name, _ in told}
    assert ("studio_places_limit", frozenset()) in told


def test_a_database_that_says_nothing_delays_a_scrape_by_a_second(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(service.jobs, "census", lambda: over.wait(30))
    started_s = time.monotonic()
    try:
        assert value(service.client, "studio_job_database_up") == 0
        assert time.monotonic() - started_s < 5
    finally:
        over.set()


def test_where_nobody_has_used_jobs_a_scrape_opens_no_database(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(FakeEngine(), STUDIO_EXECUTOR="none")

    assert not [name for name in names(client) if name.startswith(("studio_job", "studio_executors"))]
    assert list(tmp_path.iterdir()) == []


def test_who_leaves_jobs_to_another_service_on_its_folder_knows_whether_there_is_one(make_service: MakeService) -> None:
    service = make_service(STUDIO_EXECUTOR="none")
    before = value(service.client, "studio_executors")
    seat = LockedSeat(service.settings.data_dir)
    assert seat.take()
    try:
        told = scraped(make_service(STUDIO_EXECUTOR="none").client)
    finally:
        seat.leave()

    assert before == 0
    assert told["studio_executors", frozenset()] == 1


def test_open_event_streams_are_counted(service: JobService) -> None:
    job_id = service.submit()
    stream = service.client.get(f"/api/jobs/{job_id}/events", buffered=False)
    assert value(service.client, "studio_event_streams") == 1

    stream.close()

    assert value(service.client, "studio_event_streams") == 0
    assert value(service.client, "studio_event_streams_limit") == 32


# ---------------------------------------------------------------------- who may read it


def test_without_keys_everybody_may(client: FlaskClient) -> None:
    assert client.get("/metrics").status_code == 200


def test_with_keys_one_of_them_is_needed(make_client: MakeClient) -> None:
    digest = hashlib.sha256(b"the key").hexdigest()
    client = make_client(FakeEngine(), STUDIO_API_KEYS=f"prometheus:{digest}")

    refused = client.get("/metrics")
    assert (refused.status_code, json.loads(refused.data)["code"]) == (401, "unauthorized")
    assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer the key"}).status_code == 200


# ---------------------------------------------------------------------- request ids and traces


def lines(capsys: Captured) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_line_of_a_request_names_the_request_and_its_trace(make_client: MakeClient, capsys: Captured) -> None:
    client = make_client(FakeEngine(UpstreamTimeout("late"), attempts=2, backoff_s=0.0))
    capsys.readouterr()

    client.post("/studio-generate", json={"prompt": "rain"}, headers={"X-Request-ID": "r-1", "traceparent": PARENT})

    written = lines(capsys)
    assert {line["event"] for line in written} >= {"attempt failed", "request"}
    assert {(line["request_id"], line["trace_id"]) for line in written} == {("r-1", TRACE_ID)}


def test_without_a_trace_each_request_begins_one(client: FlaskClient, capsys: Captured) -> None:
    for parent in ("", "nonsense", PARENT.replace("00-", "ff-", 1)):
        client.get("/health", headers={"traceparent": parent})

    traces = [line["trace_id"] for line in lines(capsys)]
    assert len(set(traces)) == len(traces) == 3
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) and each != TRACE_ID for each in traces)


def test_two_parents_are_none(client: FlaskClient, capsys: Captured) -> None:
    client.get("/health", headers=[("traceparent", PARENT), ("traceparent", PARENT)])

    (line,) = lines(capsys)
    assert line["trace_id"] != TRACE_ID


def test_a_line_written_while_a_stream_runs_still_names_the_request(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    service = make_service()
    job_id = service.submit()

    def changes(_id: str, _after: int) -> Any:
        raise JobStoreUnavailable("away")

    monkeypatch.setattr(service.jobs, "changes", changes)
    stream = service.client.get(f"/api/jobs/{job_id}/events", headers={"X-Request-ID": "r-2"}, buffered=False)
    events = iter(stream.response)
    next(events)
    capsys.readouterr()
    reader = threading.Thread(target=lambda: next(events, None), daemon=True)
    reader.start()
    until_s = time.monotonic() + 10
    written: list[dict[str, Any]] = []
    while not written and time.monotonic() < until_s:
        time.sleep(0.01)
        written = [line for line in lines(capsys) if line["event"] == "changes cannot be read"]

    assert [line["request_id"] for line in written[:1]] == ["r-2"]
