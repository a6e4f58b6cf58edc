"""`Prefer` on POST /studio-generate: who would rather not wait, or not for long."""

from __future__ import annotations

import json

import pytest
from fakes import TONE, FakeEngine
from job_service import JobService, MakeService
from werkzeug.test import TestResponse

from app.errors import UpstreamRejected
from app.web.generate import Preference


def ask(service: JobService, prefer: str, **headers: str) -> TestResponse:
    return service.client.post("/studio-generate", json={"prompt": "rain"}, headers={"Prefer": prefer, **headers})


def test_who_would_rather_not_wait_gets_a_job(service: JobService) -> None:
    response = ask(service, "respond-async")

    (job_id,) = service.enqueued
    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "respond-async"
    assert response.headers["Location"] == f"/api/status/{job_id}"
    assert response.get_json() == service.status(job_id)
    assert service.engine.briefs == []


def test_the_accept_header_chooses_the_format_of_the_job(service: JobService) -> None:
    assert ask(service, "respond-async", Accept="audio/flac").get_json()["request"]["format"] == "flac"


def test_who_waits_a_little_gets_the_piece_when_it_is_there_in_time(service: JobService) -> None:
    with service.running():
        response = ask(service, "respond-async, wait=20")

    assert (response.status_code, response.data) == (200, TONE.content)
    assert response.headers["Studio-Engine"] == "fake"


def test_who_waits_a_little_gets_a_job_when_it_is_not(service: JobService) -> None:
    response = ask(service, "respond-async, wait=1")

    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "respond-async, wait=1"
    assert response.get_json()["status"] == "queued"


def test_who_waits_a_little_is_told_of_a_failure(make_service: MakeService) -> None:
    service = make_service(FakeEngine(UpstreamRejected("No.")))
    with service.running():
        response = ask(service, "respond-async, wait=20")

    assert json.loads(response.data)["code"] == "upstream-rejected"


def test_nobody_waits_longer_than_the_deadline_of_the_service(make_service: MakeService) -> None:
    assert ask(make_service(STUDIO_DEADLINE_S=1), "respond-async, wait=600").status_code == 202


def test_a_replay_is_a_job_again(service: JobService) -> None:
    first = ask(service, "respond-async", **{"Idempotency-Key": "k"})
    service.run(first.get_json()["id"])
    second = ask(service, "respond-async", **{"Idempotency-Key": "k"})

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.get_json()["id"] == first.get_json()["id"]
    assert second.headers["Idempotent-Replayed"] == "true"


def test_who_does_not_wait_takes_no_place(make_service: MakeService) -> None:
    asynchronous: list[int] = []
    engine = FakeEngine(while_working=lambda: asynchronous.append(ask(service, "respond-async").status_code))
    service = make_service(engine, STUDIO_MAX_ACTIVE=1)

    service.client.post("/studio-generate", json={"prompt": "rain"})

    assert asynchronous == [202]


@pytest.mark.parametrize(
    ("header", "respond_async", "wait_s"),
    [
        ("", False, 0),
        ("respond-async", True, 0),
        ("Respond-Async", True, 0),
        ("respond-async; foo=bar, wait=10", True, 10),
        ('return=minimal, respond-async , wait = "10"', True, 10),
        ("wait=10", False, 10),
        ("respond-async, wait=5, wait=10", True, 5),
        ("respond-async, wait=-1", True, 0),
        ("respond-async, wait=soon", True, 0),
        ("respond-async, wait=1.5", True, 0),
        ("respond-async, wait=" + "9" * 5_000, True, 0),
        ("x-respond-async", False, 0),
        (",,;=", False, 0),
    ],
)
def test_a_preference_is_understood_or_ignored(header: str, respond_async: bool, wait_s: int) -> None:
    assert Preference.read(header) == Preference(respond_async, wait_s)


def test_a_wait_alone_is_not_a_wish_for_a_job(service: JobService) -> None:
    assert ask(service, "wait=1").data == TONE.content
    assert service.enqueued == []
