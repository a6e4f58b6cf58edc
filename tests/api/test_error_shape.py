"""Every route, every way to fail: one shape, the right status, and nothing secret in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fakes import TONE, FakeEngine, MakeClient
from flask import Flask, abort
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.test import TestResponse

from app import create_app
from app.errors import (
    EngineError,
    FieldError,
    InternalError,
    InvalidRequest,
    NotReady,
    Overloaded,
    StudioError,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
    catalogue,
)
from app.settings import Settings

SECRET = "hf_" + "aBcD1234" * 4
OTHER_SECRET = "sk-not-like-a-token/+\"\\'"
ROWS = {row.code(): row for row in catalogue()}

NO_JOB = "0" * 32
ROUTES = [
    ("GET", "/health"),
    ("GET", "/ready"),
    ("POST", "/studio-generate"),
    ("GET", "/api/engines"),
    ("POST", "/api/jobs"),
    ("GET", "/api/jobs"),
    ("GET", f"/api/status/{NO_JOB}"),
    ("GET", f"/api/jobs/{NO_JOB}/events"),
    ("GET", f"/api/jobs/{NO_JOB}/audio"),
    ("DELETE", f"/api/jobs/{NO_JOB}"),
    ("GET", f"/api/jobs/{NO_JOB}/analyze-failure"),
    ("POST", "/api/analyze-failure"),
    ("PUT", "/api/training/local/run-1"),
    ("GET", "/api/training/local/run-1/analyze-failure"),
    ("GET", "/"),
    ("GET", "/creator"),
    ("GET", "/assets/studio.css"),
    ("GET", "/docs"),
    ("GET", "/docs/"),
    ("GET", "/docs/errors"),
    ("GET", "/docs/openapi.json"),
    ("GET", "/docs/swagger/css/swagger-ui.css"),
    ("GET", "/docs/static/errors.css"),
    ("GET", "/nowhere"),
]


def problem_of(response: TestResponse) -> dict[str, Any]:
    """Return the problem that an answer is, after holding it to the contract."""
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    problem: dict[str, Any] = json.loads(response.data)
    row = ROWS[problem["code"]]
    extra: dict[str, Any] = {name: problem[name] for name in ("attempts", "checks", "details") if name in problem}
    if "Retry-After" in response.headers:
        extra["retry_after"] = int(response.headers["Retry-After"])
    assert problem == {
        "type": f"/docs/errors#{row.code()}",
        "title": row.title,
        "status": response.status_code,
        "detail": problem["detail"],
        "code": row.code(),
        "error": row.title,
        "retryable": row.retryable,
        "hint": row.hint,
        "request_id": response.headers["X-Request-ID"],
        "errors": problem["errors"],
        **extra,
    }
    assert row.status == response.status_code
    assert 1 <= len(problem["detail"]) <= 300
    assert all(set(each) == {"field", "message"} for each in problem["errors"])
    assert response.content_length == len(response.data)
    return problem


def client_that_raises(raise_it: Callable[[], None]) -> FlaskClient:
    """Return a client of a service where every request fails the given way before it reaches its route."""
    app = create_app(Settings(), engine=FakeEngine())
    app.before_request(raise_it)
    return app.test_client()


@pytest.mark.parametrize("row", catalogue(), ids=lambda row: row.code())
def test_every_error_has_its_row_on_every_route(row: type[StudioError]) -> None:
    def fail() -> None:
        raise row("It went wrong.")

    client = client_that_raises(fail)
    for method, path in ROUTES:
        problem = problem_of(client.open(path, method=method))
        assert problem["code"] == row.code()
        assert problem["detail"] == "It went wrong."
        assert "attempts" not in problem


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_an_unforeseen_exception_is_an_internal_error_on_every_route(
    method: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise KeyError(f"{SECRET} in words of its own")

    response = client_that_raises(fail).open(path, method=method)

    assert problem_of(response)["code"] == "internal-error"
    for told in ("Traceback", "KeyError", "words of its own", __file__):
        assert told not in response.text
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "unforeseen exception" in line]
    logged = json.loads(line)
    assert logged["level"] == "error"
    assert logged["request_id"] == response.headers["X-Request-ID"]
    assert logged["traceback"].startswith("Traceback")
    assert "KeyError: '*** in words of its own'" in logged["traceback"]


@pytest.mark.parametrize("exception", default_exceptions.values(), ids=lambda exception: exception.__name__)
def test_whatever_werkzeug_raises_has_the_shape(exception: type[HTTPException]) -> None:
    def fail() -> None:
        raise exception(f"werkzeug says {SECRET}")

    response = client_that_raises(fail).get("/health")

    problem = problem_of(response)
    assert "werkzeug says" not in response.text
    assert problem["status"] < 500 or problem["code"] == "internal-error"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 415, 429, 500])
def test_a_status_of_the_catalogue_keeps_its_number(status: int) -> None:
    response = client_that_raises(lambda: abort(status)).get("/health")

    assert problem_of(response)["status"] == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, "/nowhere") for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW")),
        ("GET", "/health/"),
        ("GET", "/api//engines"),
        ("GET", "/assets/"),
        ("GET", "/assets/index.html"),
        ("GET", "/assets/pages.py"),
        ("GET", "/assets/../pages.py"),
        ("GET", "/assets/%2e%2e/pages.py"),
        ("GET", "//example.com/.."),
        ("GET", "/docs/errors/"),
        ("GET", "/docs/swagger/"),
        ("GET", "/docs/swagger/nothing.js"),
        ("GET", "/docs/swagger/../__init__.py"),
        ("GET", "/docs/swagger/%2e%2e/__init__.py"),
        ("GET", "/docs/swagger//etc/passwd"),
        ("GET", "/docs/static/../docs.py"),
        ("GET", "/static/errors.css"),
        ("GET", "/%00"),
        ("GET", "/%ff%fe"),
        ("GET", "/" + "x" * 8_000),
    ],
)
def test_what_is_not_there_is_not_found(client: FlaskClient, method: str, path: str) -> None:
    response = client.open(path, method=method)

    assert problem_of(response)["code"] == "not-found"


@pytest.mark.parametrize(("method", "path"), ROUTES[:-1])
@pytest.mark.parametrize("wrong", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
def test_a_wrong_method_is_told_the_right_ones(client: FlaskClient, method: str, path: str, wrong: str) -> None:
    if (wrong, path) in ROUTES:
        return
    response = client.open(path, method=wrong)

    assert problem_of(response)["code"] == "method-not-allowed"
    assert method in response.headers["Allow"].split(", ")


def test_a_head_request_that_fails_has_the_headers_and_no_body(client: FlaskClient) -> None:
    response = client.head("/studio-generate")

    assert response.status_code == 405
    assert response.content_type == "application/problem+json"
    assert response.headers["Allow"]
    assert response.data == b""


def test_a_question_for_the_methods_is_no_failure(client: FlaskClient) -> None:
    response = client.options("/studio-generate")

    assert response.status_code == 200
    assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


def test_a_redirect_passes_and_names_no_host(client: FlaskClient) -> None:
    response = client.get("/docs", headers={"Host": "evil.example"})

    assert response.status_code == 308
    assert response.headers["Location"] == "/docs/"


# ---------------------------------------------------------------------- what the engine raises


@pytest.mark.parametrize(
    "row", [row for row in catalogue() if issubclass(row, EngineError)], ids=lambda row: row.code()
)
def test_every_error_of_an_engine_reaches_the_caller(make_client: MakeClient, row: type[EngineError]) -> None:
    client = make_client(FakeEngine(row("It went wrong.", retry_after_s=7.2, log_text="upstream's words")))

    response = client.post("/studio-generate", json={"prompt": "rain"})

    problem = problem_of(response)
    assert problem["code"] == row.code()
    assert problem["attempts"] == 1
    assert problem.get("retry_after") == (8 if row.retryable else None)
    assert "upstream's words" not in response.text


def test_an_error_without_words_of_its_own_repeats_its_title(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(UpstreamTimeout()))

    response = client.post("/studio-generate", json={"prompt": "rain"})

    assert problem_of(response)["detail"] == UpstreamTimeout.title


def test_the_attempts_are_told(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(UpstreamError("No."), attempts=3, backoff_s=0.0))

    response = client.post("/studio-generate", json={"prompt": "rain"})

    assert problem_of(response)["attempts"] == 3


@pytest.mark.parametrize(
    ("wait_s", "sent"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.01, 2), (59.9, 60), (-5.0, 1), (1e9, 86_400)]
)
def test_the_wait_is_in_whole_seconds_rounded_up(make_client: MakeClient, wait_s: float, sent: int) -> None:
    client = make_client(FakeEngine(UpstreamUnavailable("It sleeps.", retry_after_s=wait_s)))

    response = client.post("/studio-generate", json={"prompt": "rain"})

    assert problem_of(response)["retry_after"] == sent


def test_what_is_not_retryable_names_no_time_to_retry() -> None:
    def fail() -> None:
        raise InternalError(retry_after_s=5)

    response = client_that_raises(fail).get("/health")

    assert "retry_after" not in problem_of(response)


def test_a_full_house_refuses_at_once_and_says_when_to_return(make_client: MakeClient) -> None:
    refused: list[TestResponse] = []
    engine = FakeEngine(while_working=lambda: refused.append(client.post("/studio-generate", json={"prompt": "two"})))
    client = make_client(engine, STUDIO_MAX_ACTIVE=1)

    first = client.post("/studio-generate", json={"prompt": "one"})

    assert first.data == TONE.content
    assert problem_of(refused[0])["code"] == Overloaded.code()
    assert problem_of(refused[0])["retry_after"] >= 1
    assert len(engine.briefs) == 1


def test_an_engine_that_breaks_its_promise_is_our_mistake(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(ZeroDivisionError("engines raise EngineError and nothing else")))

    response = client.post("/studio-generate", json={"prompt": "rain"})

    assert problem_of(response)["code"] == "internal-error"
    assert "engines raise" not in response.text


def test_without_an_engine_the_answer_says_what_to_set(make_client: MakeClient) -> None:
    response = make_client(None).post("/studio-generate", json={"prompt": "rain"})

    problem = problem_of(response)
    assert problem["code"] == "engine-not-configured"
    assert "HF_API_URL" in problem["hint"]


# ---------------------------------------------------------------------- what must not be told


def raised(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"{SECRET} {OTHER_SECRET}"),
        InvalidRequest(f"bad {SECRET} {OTHER_SECRET}", log_text=SECRET, fields=(FieldError("prompt", "is wrong"),)),
        NotReady(f"{SECRET} {OTHER_SECRET}", log_text=f"{SECRET} {OTHER_SECRET}"),
        *(
            row(f"it said {SECRET} {OTHER_SECRET}", log_text=f"Bearer {SECRET} {OTHER_SECRET}")
            for row in catalogue()
            if issubclass(row, EngineError)
        ),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("token", [SECRET, OTHER_SECRET])
def test_a_secret_appears_neither_in_an_answer_nor_in_the_log(
    make_client: MakeClient, capsys: pytest.CaptureFixture[str], error: BaseException, token: str
) -> None:
    settings = {"HF_TOKEN": token, "STUDIO_LOG_LEVEL": "DEBUG"}
    by_engine = make_client(FakeEngine(error), **settings)
    early = create_app(Settings.model_validate(settings), engine=FakeEngine())
    early.before_request(raised(error))

    responses = [
        by_engine.post("/studio-generate", json={"prompt": "rain"}),
        early.test_client().post("/studio-generate", json={"prompt": "rain"}),
        early.test_client().get("/nowhere"),
    ]

    logged = capsys.readouterr().out
    told = "".join(f"{response.text}{response.headers}" for response in responses)
    for text in (logged, told):
        assert SECRET not in text
        assert token not in text
        assert json.dumps(token)[1:-1] not in text
    assert len(logged.splitlines()) >= 3
    for line in logged.splitlines():
        json.loads(line)


def test_a_long_detail_is_cut_and_kept_on_one_line(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(UpstreamError("word\r\n\x00" * 500)))

    response = client.post("/studio-generate", json={"prompt": "rain"})

    detail = problem_of(response)["detail"]
    assert len(detail) == 300
    assert detail.endswith("…")
    assert "\n" not in detail


def test_the_app_has_no_other_way_to_answer(client: FlaskClient) -> None:
    """Debug and testing modes would let exceptions through to the server."""
    app = client.application
    assert isinstance(app, Flask)
    app.testing = True

    assert app.error_handler_spec[None][None].keys() == {StudioError, HTTPException, Exception}
