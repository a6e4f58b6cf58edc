"""Idempotency-Key: one piece, however often it is asked for, on every route and in every process."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
from fakes import TONE, FakeEngine
from job_service import JobService, MakeService
from werkzeug.test import TestResponse

from app import create_app
from app.errors import Gone, JobStoreUnavailable, UpstreamUnavailable
from app.jobs import Jobs
from app.jobs.job import Job
from app.retry import Deadline

ROUTES = ["/api/jobs", "/studio-generate"]
DEADLINE = {"STUDIO_DEADLINE_S": 1}


def ask(service: JobService, path: str, key: str | None, **request: object) -> TestResponse:
    headers = {} if key is None else {"Idempotency-Key": key}
    return service.client.post(path, json={"prompt": "rain", **request}, headers=headers)


def problem_of(response: TestResponse) -> dict[str, Any]:
    assert response.content_type == "application/problem+json", response.text
    problem: dict[str, Any] = json.loads(response.data)
    assert problem["status"] == response.status_code
    assert problem["request_id"] == response.headers["X-Request-ID"]
    return problem


# ---------------------------------------------------------------------- the header


@pytest.mark.parametrize(
    "key",
    ["", " ", "x" * 256, "tab\tbed", "a\x7f", "clé", "\N{SNOWMAN}", '"' + "x" * 256 + '"'],
)
@pytest.mark.parametrize("path", ROUTES)
def test_a_key_that_cannot_be_used_is_refused_by_name(service: JobService, path: str, key: str) -> None:
    response = service.client.open(
        path, method="POST", json={"prompt": "rain"}, environ_overrides={"HTTP_IDEMPOTENCY_KEY": key}
    )

    problem = problem_of(response)
    assert problem["code"] == "invalid-request"
    assert problem["errors"] == [{"field": "Idempotency-Key", "message": "must be 1 to 255 printable ASCII characters"}]
    assert service.enqueued == []
    assert service.engine.briefs == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("8e03978e", '"8e03978e"'),
        ('"a \\"quoted\\" \\\\ key"', '"a \\"quoted\\" \\\\ key"'),
        ("a, b; c=d", '"a, b; c=d"'),
        (" padded ", "padded"),
        ("x" * 255, '"' + "x" * 255 + '"'),
        ("~!#$%&'()*+,-./:;<=>?@[]^_`{|}", "~!#$%&'()*+,-./:;<=>?@[]^_`{|}"),
    ],
)
def test_a_key_means_the_same_bare_and_quoted(service: JobService, first: str, second: str) -> None:
    ids = [ask(service, "/api/jobs", key).get_json()["id"] for key in (first, second)]

    assert ids[0] == ids[1]
    assert len(service.enqueued) == 1


@pytest.mark.parametrize("key", ['"', '""', '"open', '"a" "b"', '"a";x=1', '"a\\b"'])
def test_what_is_no_quoted_string_is_a_key_as_it_stands(service: JobService, key: str) -> None:
    first, second = ask(service, "/api/jobs", key), ask(service, "/api/jobs", key)

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(service.enqueued) == 1


def test_keys_are_told_apart_by_case(service: JobService) -> None:
    assert ask(service, "/api/jobs", "k").get_json()["id"] != ask(service, "/api/jobs", "K").get_json()["id"]


# ---------------------------------------------------------------------- jobs


def test_a_key_never_starts_a_second_job(service: JobService) -> None:
    first = ask(service, "/api/jobs", "k")
    second = ask(service, "/api/jobs", "k")
    service.run(first.get_json()["id"])
    third = ask(service, "/api/jobs", "k")

    assert [each.status_code for each in (first, second, third)] == [202, 202, 202]
    assert len({each.headers["Location"] for each in (first, second, third)}) == 1
    assert len(service.enqueued) == 1
    assert third.get_json()["status"] == "succeeded"
    assert [each.headers.get("Idempotent-Replayed") for each in (first, second, third)] == [None, "true", "true"]


def test_without_a_key_each_request_is_a_job_of_its_own(service: JobService) -> None:
    ids = {ask(service, "/api/jobs", None).get_json()["id"] for _ in range(3)}

    assert len(ids) == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"duration": "10"}, {"duration": 10.0}),
        ({}, {"duration": 10, "format": "wav", "mood": None, "instruments": []}),
        ({"mood": " "}, {}),
        ({"instruments": "piano, cello"}, {"instruments": ["piano", "cello"]}),
        ({"prompt": " rain\n"}, {"prompt": "rain"}),
    ],
)
def test_the_same_request_in_other_words_is_the_same(
    service: JobService, first: dict[str, object], second: dict[str, object]
) -> None:
    responses = [ask(service, "/api/jobs", "k", **each) for each in (first, second)]

    assert [each.status_code for each in responses] == [202, 202]
    assert len(service.enqueued) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "snow"},
        {"duration": 11},
        {"mood": "calm"},
        {"tempo": 90},
        {"instruments": "piano"},
        {"username": "nina"},
        {"seed": 1},
        {"format": "flac"},
    ],
)
@pytest.mark.parametrize("path", ROUTES)
def test_a_key_for_something_else_is_refused(service: JobService, path: str, other: dict[str, object]) -> None:
    ask(service, "/api/jobs", "k")

    response = ask(service, path, "k", **other)

    assert problem_of(response)["code"] == "idempotency-mismatch"
    assert len(service.enqueued) == 1


def test_the_accept_header_is_a_part_of_the_request(service: JobService) -> None:
    ask(service, "/api/jobs", "k")

    response = service.client.post(
        "/studio-generate", json={"prompt": "rain"}, headers={"Idempotency-Key": "k", "Accept": "audio/flac"}
    )

    assert problem_of(response)["code"] == "idempotency-mismatch"


def test_after_its_time_a_key_is_free_again(service: JobService) -> None:
    first = ask(service, "/api/jobs", "k").get_json()["id"]
    service.run(first)
    service.clock.ahead_s = service.settings.job_ttl_s + 1

    second = ask(service, "/api/jobs", "k", prompt="snow")

    assert second.status_code == 202
    assert second.get_json()["id"] != first
    assert "Idempotent-Replayed" not in second.headers


# ---------------------------------------------------------------------- callers who wait


def test_a_waiting_request_with_a_key_is_made_once_and_answered_alike(service: JobService) -> None:
    with service.running():
        first = ask(service, "/studio-generate", "k", seed=7)
    second = ask(service, "/studio-generate", "k", seed=7)

    assert (first.status_code, first.data) == (200, TONE.content)
    assert (second.status_code, second.data) == (200, TONE.content)
    assert len(service.engine.briefs) == 1
    assert first.headers.get("Idempotent-Replayed") is None
    assert second.headers["Idempotent-Replayed"] == "true"
    for name in ("Studio-Seed", "Studio-Engine", "Studio-Attempts", "Repr-Digest", "Content-Disposition"):
        assert first.headers[name] == second.headers[name]
    assert first.headers["Studio-Seed"] == "7"
    assert first.headers["Cache-Control"] == "no-store"


def test_a_drawn_seed_is_drawn_once(service: JobService) -> None:
    with service.running():
        seeds = {ask(service, "/studio-generate", "k").headers["Studio-Seed"] for _ in range(3)}

    assert len(seeds) == 1


def test_requests_in_flight_are_joined(service: JobService) -> None:
    """All five wait before the one piece is finished."""
    arrived = threading.Semaphore(0)
    wait = service.jobs.wait

    def wait_and_tell(id: str, deadline: Deadline) -> Job:
        arrived.release()
        return wait(id, deadline)

    service.jobs.wait = wait_and_tell  # type: ignore[method-assign]
    service.engine = FakeEngine(while_working=lambda: [arrived.acquire(timeout=10) for _ in range(5)])

    with ThreadPoolExecutor(max_workers=5) as pool, service.running():
        waiting = [pool.submit(ask, service, "/studio-generate", "k") for _ in range(5)]
        responses = [each.result(timeout=20) for each in waiting]

    assert {each.data for each in responses} == {TONE.content}
    assert len(service.engine.briefs) == 1
    assert sum("Idempotent-Replayed" not in each.headers for each in responses) == 1


def test_both_routes_share_a_key(service: JobService) -> None:
    job_id = ask(service, "/api/jobs", "k").get_json()["id"]
    service.run(job_id)

    response = ask(service, "/studio-generate", "k")

    assert response.data == TONE.content
    assert response.headers["Idempotent-Replayed"] == "true"


def test_a_failure_is_replayed_too(make_service: MakeService) -> None:
    service = make_service(FakeEngine(UpstreamUnavailable("It sleeps.", retry_after_s=60)))
    with service.running():
        first = ask(service, "/studio-generate", "k")
    second = ask(service, "/studio-generate", "k")

    told = [problem_of(each) for each in (first, second)]
    assert [(each["code"], each["status"], each["detail"]) for each in told] == [
        ("upstream-unavailable", 503, "It sleeps.")
    ] * 2
    assert 58 <= int(first.headers["Retry-After"]) <= 60
    assert "another `Idempotency-Key`" in told[0]["hint"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(service.engine.briefs) == 1


def test_the_wait_that_a_failure_advised_grows_shorter(service: JobService) -> None:
    service.clock.ahead_s = -40
    job_id = ask(service, "/api/jobs", "k").get_json()["id"]
    service.start(job_id)
    service.fail(job_id, UpstreamUnavailable("It sleeps.", retry_after_s=60))

    response = ask(service, "/studio-generate", "k")

    assert 15 <= int(response.headers["Retry-After"]) <= 21
    assert problem_of(response)["retry_after"] == int(response.headers["Retry-After"])


def test_when_the_deadline_passes_the_job_goes_on(make_service: MakeService) -> None:
    service = make_service(**DEADLINE)

    response = ask(service, "/studio-generate", "k")

    problem = problem_of(response)
    (job_id,) = service.enqueued
    assert (problem["code"], response.status_code) == ("upstream-timeout", 504)
    assert problem["job"] == f"/api/status/{job_id}"
    assert service.client.get(problem["job"]).get_json()["status"] == "queued"
    service.run(job_id)
    assert ask(service, "/studio-generate", "k").data == TONE.content


def test_who_waits_for_a_job_that_is_cancelled_is_told(service: JobService) -> None:
    job_id = ask(service, "/api/jobs", "k").get_json()["id"]
    service.client.delete(f"/api/jobs/{job_id}")

    assert problem_of(ask(service, "/studio-generate", "k"))["code"] == "cancelled"


def test_audio_that_is_lost_is_said(service: JobService) -> None:
    job_id = ask(service, "/api/jobs", "k").get_json()["id"]
    service.run(job_id)
    service.store.delete(f"{job_id}.wav")

    assert problem_of(ask(service, "/studio-generate", "k"))["code"] == "result-lost"


def test_those_who_wait_for_a_job_take_places_too(make_service: MakeService) -> None:
    """Each occupies a thread: without a limit they would leave none for `/health`."""
    service = make_service(STUDIO_MAX_ACTIVE=1, **DEADLINE)

    with ThreadPoolExecutor(max_workers=2) as pool:
        responses = list(pool.map(lambda key: ask(service, "/studio-generate", key), ("k", "l")))

    assert sorted(problem_of(each)["code"] for each in responses) == ["overloaded", "upstream-timeout"]
    assert len(service.enqueued) == 1


class Interrupted:
    """Jobs whose database is away when they are first waited for."""

    def __init__(self, jobs: Jobs) -> None:
        self.submit = jobs.submit
        self.read = jobs.read
        self._waits = iter([_unavailable, jobs.wait])

    def wait(self, job_id: str, deadline: Deadline) -> Job:
        return next(self._waits)(job_id, deadline)


def _unavailable(job_id: str, deadline: Deadline) -> NoReturn:
    raise JobStoreUnavailable


def test_a_database_that_is_away_while_somebody_waits_is_waited_for(service: JobService) -> None:
    jobs: Any = Interrupted(service.jobs)
    client = create_app(service.settings, engine=service.engine, jobs=lambda: jobs).test_client()

    with service.running():
        response = client.post("/studio-generate", json={"prompt": "rain"}, headers={"Idempotency-Key": "k"})

    assert response.data == TONE.content


def test_without_a_key_a_caller_who_waits_has_no_job(service: JobService) -> None:
    response = ask(service, "/studio-generate", None)

    assert response.data == TONE.content
    assert service.enqueued == []


def test_a_file_that_had_to_make_room_does_not_free_its_key(make_service: MakeService) -> None:
    """Whoever asks again must not pay for a second piece without knowing it."""
    service = make_service(STUDIO_STORE_MAX_BYTES=2**20)
    job_id = ask(service, "/api/jobs", "k").get_json()["id"]
    service.start(job_id)
    service.succeed(job_id, b"x" * (2**20 + 1))
    assert service.jobs.sweep() == 1

    again, whole, audio = (
        ask(service, "/api/jobs", "k"),
        ask(service, "/studio-generate", "k"),
        service.client.get(f"/api/jobs/{job_id}/audio"),
    )

    assert again.get_json()["id"] == job_id
    assert (again.get_json()["status"], again.get_json()["audio_url"]) == ("succeeded", None)
    assert [problem_of(each)["code"] for each in (whole, audio)] == ["gone", "gone"]
    assert whole.headers["Idempotent-Replayed"] == "true"
    assert "make room" in problem_of(audio)["detail"]
    assert len(service.enqueued) == 1


def test_a_job_that_is_deleted_while_somebody_waits_is_told(service: JobService) -> None:

    def find_nothing(id: str, deadline: Deadline) -> NoReturn:
        raise Gone

    service.jobs.wait = find_nothing  # type: ignore[method-assign]

    assert problem_of(ask(service, "/studio-generate", "k"))["code"] == "cancelled"
