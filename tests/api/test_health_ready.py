"""Up, and able to work: two questions with two answers."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeClient
from flask import Flask
from flask.testing import FlaskClient

from app import VERSION
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
    assert response.get_json() == {"status": "ok", "checks": {"engine": "ok", "jobs": "ok", "executor": "ok"}}


def test_not_ready_says_what_is_missing(make_client: MakeClient) -> None:
    response = make_client(None).get("/ready")

    problem = json.loads(response.data)
    assert response.status_code == 503
    assert problem["code"] == "not-ready"
    assert problem["detail"] == "Not ready: engine."
    assert "HF_API_URL" in problem["checks"]["engine"]


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
