"""The changes of a job as a stream of events: all of them, from anywhere, and not for ever."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest
import structlog
from api_keys import BOB, KEYS, NINA
from fakes import FakeClock
from job_service import JobService, MakeService
from werkzeug.test import TestResponse

from app.errors import Gone, JobStoreUnavailable, Overloaded
from app.jobs.job import Change, Job
from app.web.events import Pace, Streams

Event = dict[str, Any]


def read(text: str) -> list[Event]:
    """Return the events of a stream as a browser reads them, each `data` as what its JSON holds."""
    events: list[Event] = []
    for block in text.split("\n\n")[:-1]:
        event: Event = {}
        for line in block.split("\n"):
            if not line.startswith(":"):
                field, _, value = line.partition(": ")
                event[field] = json.loads(value) if field == "data" else value
        if event:
            events.append(event)
    return events


def events_of(service: JobService, job_id: str, query: str = "", **headers: str) -> list[Event]:
    response = service.client.get(f"/api/jobs/{job_id}/events{query}", headers=headers)
    assert response.status_code == 200, response.text
    assert response.content_type == "text/event-stream"
    return read(response.text)


def numbers(events: Sequence[Event]) -> list[str]:
    return [event["id"] for event in events if event.get("event") == "status"]


def test_each_change_is_an_event_and_the_last_one_is_followed_by_the_end(service: JobService) -> None:
    job_id = service.finished()

    first, *changes, end = events_of(service, job_id)

    assert first == {"retry": "2000"}
    assert [each["event"] for each in changes] == ["status"] * 3
    assert [each["id"] for each in changes] == ["1", "2", "3"]
    assert [each["data"]["status"] for each in changes] == ["queued", "running", "succeeded"]
    assert end == {"event": "end", "data": {"status": "succeeded"}}


def test_the_data_is_the_job_as_it_was_then(service: JobService) -> None:
    job_id = service.finished()

    queued, _, succeeded = [each["data"] for each in events_of(service, job_id) if each.get("event") == "status"]

    assert succeeded == service.status(job_id)
    assert set(queued) == set(succeeded)
    assert queued["audio_url"] is None
    assert queued["finished_at"] is None


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_other_ends_end_the_stream_too(service: JobService, outcome: str) -> None:
    job_id = service.submit()
    if outcome == "cancelled":
        service.client.delete(f"/api/jobs/{job_id}")
    else:
        service.start(job_id)
        service.records.fail(job_id, dict(PROBLEM), retryable=False, message="No.")

    *_, last, end = events_of(service, job_id)

    assert last["data"]["status"] == end["data"]["status"] == outcome


PROBLEM = {
    "type": "/docs/errors#upstream-rejected",
    "title": "No.",
    "status": 502,
    "detail": "No.",
    "code": "upstream-rejected",
    "error": "No.",
    "retryable": False,
    "hint": "No.",
    "request_id": "r",
    "errors": [],
}


@pytest.mark.parametrize(
    ("known", "following"),
    [("0", ["1", "2", "3"]), ("1", ["2", "3"]), ("2", ["3"]), ("x", ["1", "2", "3"]), ("-1", ["1", "2", "3"])],
)
def test_a_reader_who_comes_back_gets_what_it_has_missed(service: JobService, known: str, following: list[str]) -> None:
    job_id = service.finished()

    assert numbers(events_of(service, job_id, **{"Last-Event-ID": known})) == following
    assert numbers(events_of(service, job_id, f"?last_event_id={known}")) == following


@pytest.mark.parametrize("known", ["3", "4", "999999999999999"])
def test_a_reader_who_knows_the_end_is_told_not_to_come_back(service: JobService, known: str) -> None:
    """A browser asks again after each end of a stream, and stops at 204 (HTML, Server-sent events)."""
    job_id = service.finished()

    response = service.client.get(f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": known})

    assert (response.status_code, response.data) == (204, b"")


def test_changes_arrive_while_they_happen(service: JobService) -> None:
    job_id = service.submit()
    response = service.client.get(f"/api/jobs/{job_id}/events")
    pieces = response.iter_encoded()

    arrived = [next(pieces), next(pieces)]
    service.run(job_id)
    arrived += pieces

    assert numbers(read(b"".join(arrived[:2]).decode())) == ["1"]
    assert numbers(read(b"".join(arrived).decode())) == ["1", "2", "3"]
    response.close()


def test_nothing_may_hold_events_back(service: JobService) -> None:
    response = service.client.get(f"/api/jobs/{service.finished()}/events")

    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Content-Length" not in response.headers


def test_more_streams_than_there_are_threads_for_are_refused(make_service: MakeService) -> None:
    service = make_service(STUDIO_MAX_STREAMS=2)
    job_id = service.submit()
    url = f"/api/jobs/{job_id}/events"
    first, second = service.client.get(url), service.client.get(url)

    refused = service.client.get(url)
    first.close()
    again = service.client.get(url)

    assert (first.status_code, second.status_code) == (200, 200)
    assert json.loads(refused.data)["code"] == "overloaded"
    assert int(refused.headers["Retry-After"]) >= 1
    assert again.status_code == 200
    second.close()
    again.close()


def test_a_question_for_the_headers_takes_no_place(make_service: MakeService) -> None:
    service = make_service(STUDIO_MAX_STREAMS=1)
    url = f"/api/jobs/{service.submit()}/events"

    responses = [service.client.head(url) for _ in range(3)]

    assert [(each.status_code, each.content_type) for each in responses] == [(200, "text/event-stream")] * 3


# ---------------------------------------------------------------------- how a stream passes its time


class Script:
    """A job whose looks come to what the test says, one after the other; then nothing happens any more."""

    def __init__(self, job: Job, *looks: Sequence[Change] | Exception) -> None:
        self._job = job
        self._looks = list(looks)

    def get(self, _: str) -> Job:
        if isinstance(self._job, Exception):
            raise self._job
        return self._job

    def changes(self, _: str, after: int) -> Sequence[Change]:
        look = self._looks.pop(0) if self._looks else ()
        if isinstance(look, Exception):
            raise look
        return look


class Ticks(FakeClock):
    """Time that goes on by a second with each look at it."""

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


@pytest.fixture
def job(service: JobService) -> Job:
    """Return a running job: those that wait are told their places."""
    job_id = service.submit()
    service.start(job_id)
    return service.job(job_id)


def stream(jobs: Any, job: Job, streams: Streams) -> Iterator[str]:
    return streams.events(jobs, job, after=0, describe=lambda each: json.dumps({"status": each.status}))


def test_silence_is_broken_by_comments_and_a_stream_has_an_end(job: Job) -> None:
    streams = Streams(limit=1, pace=Pace(poll_s=0.0, heartbeat_s=10, lifetime_s=100), clock=Ticks())

    first, *comments = stream(Script(job), job, streams)

    assert first.startswith("retry: ")
    assert set(comments) == {": still here\n\n"}
    assert 4 <= len(comments) <= 9


def test_the_longest_silence_suits_proxies() -> None:
    """Heartbeats come at least every 15 s, the look at the clock included."""
    assert Pace().heartbeat_s + Pace().poll_s < 15


def test_a_database_that_is_away_for_a_while_does_not_end_the_stream(job: Job) -> None:
    running = Change(2, 0.0, "running", "Composing…", None, None, 1)
    streams = Streams(limit=1, pace=Pace(poll_s=0.0, heartbeat_s=50, lifetime_s=30), clock=Ticks())

    told = list(stream(Script(job, JobStoreUnavailable(), JobStoreUnavailable(), [running]), job, streams))

    assert told[1:] == ['id: 2\nevent: status\ndata: {"status": "running"}\n\n']


def test_a_change_is_told_with_the_job_as_it_was_then_or_later(service: JobService) -> None:
    """A database that goes away between the two looks must not turn an end into half an end."""
    job = service.job(service.submit())
    service.run(job.id)
    looks = [JobStoreUnavailable(), None]

    class Interrupted:
        changes = staticmethod(service.jobs.changes)

        def get(self, job_id: str) -> Job:
            if error := looks.pop(0) if looks else None:
                raise error
            return service.jobs.get(job_id)

    streams = Streams(limit=1, pace=Pace(poll_s=0.0))
    events = read("".join(streams.events(Interrupted(), job, after=0, describe=_line)))

    *_, last, end = events
    assert (last["data"]["status"], last["data"]["file"]) == ("succeeded", True)
    assert end["event"] == "end"


def _line(job: Job) -> str:
    return json.dumps({"status": job.status, "file": job.result is not None})


def test_who_waits_in_the_queue_is_told_the_place_now_and_then(service: JobService) -> None:
    first, second = service.job(service.submit()), service.job(service.submit())
    streams = Streams(limit=1, pace=Pace(poll_s=0.0, heartbeat_s=10, lifetime_s=25), clock=Ticks())
    told = streams.events(
        service.jobs, second, after=1, describe=lambda each: json.dumps({"ahead": each.queue_position})
    )

    assert next(told).startswith("retry: ")
    before = next(told)
    service.run(first.id)
    after = next(told)

    assert [before, after] == [f'event: status\ndata: {{"ahead": {ahead}}}\n\n' for ahead in (1, 0)]


def test_a_job_that_is_deleted_meanwhile_ends_the_stream(job: Job) -> None:
    gone: Any = Gone()
    streams = Streams(limit=1, pace=Pace(poll_s=0.0, heartbeat_s=5), clock=Ticks())

    *_, last = stream(Script(gone), job, streams)

    assert last == 'event: end\ndata: {"status": "gone"}\n\n'


def test_streams_end_when_the_process_is_about_to_go(job: Job) -> None:
    streams = Streams(limit=1, pace=Pace(poll_s=60))
    told: list[str] = []
    waiting = threading.Event()

    def read_all() -> None:
        for each in stream(Script(job), job, streams):
            told.append(each)
            waiting.set()

    reader = threading.Thread(target=read_all)
    reader.start()
    assert waiting.wait(10)
    began_s = time.monotonic()

    streams.stop()
    reader.join(timeout=10)

    assert not reader.is_alive()
    assert time.monotonic() - began_s < 5
    assert "end" not in "".join(told)


def test_a_place_is_taken_once_and_given_back() -> None:
    streams = Streams(limit=1)
    streams.enter("ann")

    with pytest.raises(Overloaded, match="Too many event streams"):
        streams.enter("bob")
    assert streams.open == 1
    streams.leave("ann")
    streams.enter("bob")


@pytest.mark.parametrize(("limit", "share"), [(1, 1), (3, 3), (4, 4), (7, 4), (16, 8), (19, 9), (32, 16)])
def test_one_caller_has_half_of_the_streams_but_at_least_four(limit: int, share: int) -> None:
    streams = Streams(limit=limit)
    for _ in range(share):
        streams.enter("ann")

    with pytest.raises(Overloaded):
        streams.enter("ann")
    for _ in range(limit - share):
        streams.enter(f"others {streams.open}")
    streams.leave("ann")
    streams.enter("ann")

    assert streams.open == limit


def test_callers_who_have_left_are_forgotten() -> None:
    streams = Streams(limit=8)
    for number in range(100):
        streams.enter(f"caller {number}")
        streams.leave(f"caller {number}")

    assert (streams.open, len(streams._open)) == (0, 0)


Caller = tuple[dict[str, str], str]
"""Headers and an address."""

ANN_AT_HOME: Final[Caller] = ({}, "192.0.2.1")
BOB_AT_HOME: Final[Caller] = ({}, "192.0.2.2")
BOB_AT_WORK: Final[Caller] = (BOB, "192.0.2.9")
NINA_AT_WORK: Final[Caller] = (NINA, "192.0.2.9")


@pytest.mark.parametrize(
    ("settings", "greedy", "other"),
    [
        pytest.param(KEYS, BOB_AT_WORK, NINA_AT_WORK, id="by key"),
        pytest.param({}, ANN_AT_HOME, BOB_AT_HOME, id="by address"),
    ],
)
def test_one_caller_leaves_streams_to_the_others(
    make_service: MakeService, settings: dict[str, str], greedy: Caller, other: Caller
) -> None:
    service = make_service(STUDIO_MAX_STREAMS=8, **settings)
    job = submitted_by(service, greedy)
    job_of_other = submitted_by(service, other)

    theirs = [stream_of(service, job, greedy) for _ in range(4)]
    refused, let_in = stream_of(service, job, greedy), stream_of(service, job_of_other, other)
    theirs.pop().close()
    again = stream_of(service, job, greedy)

    problem = json.loads(refused.data)
    assert (refused.status_code, problem["code"], refused.headers["Retry-After"]) == (503, "overloaded", "5")
    assert problem["detail"].startswith("You have 4 event streams open, which is the share of one caller;")
    assert [each.status_code for each in (*theirs, let_in, again)] == [200] * 5
    for each in (*theirs, let_in, again):
        each.close()


def submitted_by(service: JobService, caller: Caller) -> str:
    headers, address = caller
    response = service.client.post(
        "/api/jobs", json={"prompt": "rain"}, headers=headers, environ_overrides={"REMOTE_ADDR": address}
    )
    return str(response.get_json()["id"])


def stream_of(service: JobService, job_id: str, caller: Caller) -> TestResponse:
    headers, address = caller
    return service.client.get(f"/api/jobs/{job_id}/events", headers=headers, environ_overrides={"REMOTE_ADDR": address})


def test_a_database_that_is_away_is_told_once(job: Job) -> None:
    streams = Streams(limit=1, pace=Pace(poll_s=0.0, heartbeat_s=50, lifetime_s=30), clock=Ticks())
    away = [JobStoreUnavailable() for _ in range(5)]
    with structlog.testing.capture_logs() as log:
        list(stream(Script(job, *away, [], JobStoreUnavailable()), job, streams))

    assert [line["event"] for line in log] == ["changes cannot be read"] * 2
