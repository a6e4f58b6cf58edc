"""Up, and able to work: two questions with two answers."""

from __future__ import annotations

import json
import re
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast, get_args

import pytest
from fakes import FakeClock, FakeEngine, MakeClient
from flask import Flask
from flask.testing import FlaskClient
from job_service import JobService, MakeService

from app import VERSION
from app.errors import JobStoreUnavailable, StudioError
from app.jobs import Jobs
from app.jobs.executor import LockedSeat
from app.jobs.job import Census, Status
from app.logs import Scrubber
from app.web import guard, health, problems


def test_up_says_which_version_with_which_engine(client: FlaskClient) -> None:
    response = client.get("/health")

    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.get_json() == {"status": "ok", "version": VERSION, "engine": "fake"}


def test_up_does_not_depend_on_the_engine(make_client: MakeClient) -> None:
    response = make_client(None).get("/health")

    assert response.get_json() == {"status": "ok", "version": VERSION, "engine": "huggingface"}


def test_up_asks_nobody(client: FlaskClient, engine: FakeEngine) -> None:
    client.get("/health")
    client.get("/ready")

    assert engine.briefs == []


def test_up_is_answered_for_head_too(client: FlaskClient) -> None:
    response = client.head("/health")

    assert response.status_code == 200
    assert response.data == b""
    assert response.content_length == len(client.get("/health").data)


def test_ready_names_each_check(client: FlaskClient) -> None:
    response = client.get("/ready")

    assert response.status_code == 200
    assert response.get_json() == {
        "status": "ok",
        "checks": {
            "engine": "ok",
            "breaker": "ok",
            "jobs": "ok",
            "executor": "ok",
        },
    }


def test_not_ready_says_what_is_missing(make_client: MakeClient) -> None:
    response = make_client(None).get("/ready")

    problem = json.loads(response.data)
    assert response.status_code == 503
    assert problem["code"] == "not-ready"
    assert problem["detail"] == "Not ready: engine."
    assert "HF_API_URL" in problem["checks"]["engine"]


def census(*, queue_age_s: float = 0.0, executors: int | None = None) -> Census:
    return Census(dict.fromkeys(get_args(Status), 0), queue_age_s, executors)


@pytest.mark.parametrize(
    ("is_held", "found", "expected"),
    [
        (True, None, None),
        (True, census(queue_age_s=1e6), None),
        (False, None, "nobody runs jobs. Set STUDIO_EXECUTOR=embedded, here"),
        (False, census(queue_age_s=health.PATIENCE_S - 1), "nobody runs jobs. Set STUDIO_EXECUTOR=embedded, here"),
        (None, census(queue_age_s=1e6, executors=0), "nobody runs jobs. Start `studio worker`, with"),
        (None, census(queue_age_s=1e6, executors=1), None),
        (None, None, None),
    ],
)
def test_ready_remarks_that_nobody_would_run_a_job(
    is_held: bool | None, found: Census | None, expected: str | None
) -> None:
    look = None if is_held is None else lambda: is_held
    told = health.executor_check(look, lambda: (found, found is None))()

    assert not isinstance(told, str)
    assert (told and told.text.startswith(expected or "?")) is (True if expected else None)


def test_not_ready_is_who_leaves_jobs_waiting_for_nobody(make_service: MakeService) -> None:
    service = make_service(STUDIO_EXECUTOR="none")
    service.submit()
    service.clock.ahead_s = health.PATIENCE_S + 5

    alone = service.client.get("/ready")
    seat = LockedSeat(service.settings.data_dir)
    assert seat.take()
    try:
        with_worker = service.client.get("/ready")
    finally:
        seat.leave()

    assert alone.status_code == 503
    problem = json.loads(alone.data)
    assert problem["detail"] == "Not ready: executor."
    assert re.fullmatch(
        r"Jobs have waited for 6\d s and nobody runs them. Set STUDIO_EXECUTOR=embedded, here .*",
        problem["checks"]["executor"],
    )
    assert (with_worker.status_code, with_worker.get_json()["checks"]["executor"]) == (200, "ok")


def test_who_takes_no_jobs_is_ready_without_anybody_to_run_them(make_client: MakeClient) -> None:
    response = make_client(FakeEngine(), STUDIO_EXECUTOR="none").get("/ready")

    assert response.status_code == 200
    assert response.get_json()["checks"]["executor"].startswith(
        "ok: nobody runs jobs. Set STUDIO_EXECUTOR=embedded, here"
    )


def test_however_many_ask_the_database_is_asked_once_at_a_time(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may ask: it needs no key, and is not limited."""
    here, asked, all_here = [], [], threading.Event()
    service.app.before_request(lambda: here.append("one more"))

    def probe() -> None:
        asked.append("once more")
        all_here.wait(5)

    monkeypatch.setattr(service.jobs, "probe", probe)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(service.app.test_client().get, "/ready") for _ in range(8)]
        while len(here) < len(answers):
            time.sleep(0.005)
        at_once = len(asked)
        all_here.set()
        statuses = [answer.result().status_code for answer in answers]

    assert statuses == [200] * 8
    assert at_once <= 1


def test_the_database_is_asked_once_a_second() -> None:
    asked: list[str] = []
    outcomes: list[StudioError | None] = [JobStoreUnavailable(), None]
    clock = FakeClock()

    class Asked:
        def probe(self) -> None:
            asked.append("once more")
            if error := outcomes.pop(0):
                raise error

    check = health.jobs_check(lambda: cast("Jobs", Asked()), clock=clock)
    depths = []
    for _ in range(3):
        with pytest.raises(JobStoreUnavailable) as caught:
            check()
        depths.append(len(caught.traceback))
        clock.now_s += health.FRESH_S / 4
    assert len(asked) == 1
    assert len(set(depths)) == 1, "the failure that is shared grows"

    clock.now_s += health.FRESH_S / 4
    assert check() is None
    assert len(asked) == 2, "who comes later asks anew"


def test_a_database_that_does_not_answer_is_not_waited_for(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(service.jobs, "probe", lambda: over.wait(30))
    monkeypatch.setattr(health, "LONGEST_CHECK_S", 0.05)
    try:
        response = service.client.get("/ready")
    finally:
        over.set()

    assert response.status_code == 503
    assert json.loads(response.data)["checks"]["jobs"] == "No answer within 0.05 s."


def test_a_check_that_fails_itself_is_not_ready_and_keeps_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    def break_down() -> str | None:
        raise ConnectionError("secret host name")

    app = Flask(__name__)
    guard.protect(app, deadline_s=1)
    problems.register(app, scrub=Scrubber())
    app.register_blueprint(
        health.blueprint(version="1", engine_name="fake", checks={"store": break_down, "engine": lambda: None})
    )

    response = app.test_client().get("/ready")

    assert response.status_code == 503
    assert json.loads(response.data)["checks"] == {
        "engine": "ok",
        "store": "The check itself failed; the log has the reason.",
    }
    assert "secret host name" not in response.text
    assert "check failed" in capsys.readouterr().out


def test_the_version_is_the_one_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

    assert project["version"] == VERSION
