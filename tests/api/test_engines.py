"""GET /api/engines: what there is to choose from."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import FakeEngine, MakeClient
from flask.testing import FlaskClient

from app import create_app
from app.engines import ENGINES
from app.settings import Settings


def client_of(**settings: object) -> FlaskClient:
    """Return a client of the service as the settings make it."""
    return create_app(Settings.model_validate(settings)).test_client()


def engines_of(client: FlaskClient) -> dict[str, dict[str, Any]]:
    response = client.get("/api/engines")
    assert response.status_code == 200
    assert response.content_type == "application/json"
    return {each["name"]: each for each in response.get_json()["engines"]}


def test_every_engine_is_listed_with_what_can_be_asked_of_it() -> None:
    listed = engines_of(client_of())

    assert list(listed) == list(ENGINES)
    for name, entry in ENGINES.items():
        assert listed[name]["formats"] == list(entry.abilities.formats)
        assert listed[name]["styles"] == list(entry.abilities.styles)
        assert listed[name]["moods"] == list(entry.abilities.moods)
        assert {each["name"]: each["family"] for each in listed[name]["instruments"]} == entry.abilities.instruments


@pytest.mark.parametrize("in_use", list(ENGINES))
def test_it_says_which_engine_is_in_use(in_use: str) -> None:
    listed = engines_of(client_of(STUDIO_ENGINE=in_use))

    assert [name for name, each in listed.items() if each["in_use"]] == [in_use]


@pytest.mark.parametrize(("settings", "configured"), [({}, False), ({"HF_API_URL": "owner/space"}, True)])
def test_an_engine_without_its_settings_is_listed_as_that(settings: dict[str, str], configured: bool) -> None:
    listed = engines_of(client_of(**settings))

    assert listed["huggingface"]["configured"] is configured
    assert listed["huggingface"]["formats"] == ["wav", "flac", "ogg", "mp3"]
    assert listed["composer"]["configured"] is True


def test_who_takes_free_text_alone_offers_no_choice() -> None:
    listed = engines_of(client_of())["huggingface"]

    assert (listed["styles"], listed["moods"], listed["instruments"]) == ([], [], [])


@pytest.mark.parametrize("name", list(ENGINES))
@pytest.mark.parametrize("bound", ["min_duration", "max_duration"])
def test_the_durations_that_are_offered_are_accepted(make_client: MakeClient, name: str, bound: str) -> None:
    client = make_client(FakeEngine())
    duration = engines_of(client)[name][bound]

    assert client.post("/studio-generate", json={"prompt": "rain", "duration": duration}).status_code == 200


def test_nothing_secret_is_told() -> None:
    response = client_of(HF_API_URL="https://private.example/", HF_TOKEN="hf_" + "secret" * 4).get("/api/engines")

    assert "private" not in response.text
    assert "secret" not in response.text


def test_who_knows_the_answer_need_not_fetch_it_again(client: FlaskClient) -> None:
    first = client.get("/api/engines")
    again = client.get("/api/engines", headers={"If-None-Match": first.headers["ETag"]})
    other = client.get("/api/engines", headers={"If-None-Match": '"something else"'})

    assert first.headers["Cache-Control"] == "max-age=300, private"
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert (other.status_code, other.data) == (200, first.data)


def test_only_the_head_can_be_asked_for(client: FlaskClient) -> None:
    response = client.head("/api/engines")

    assert response.status_code == 200
    assert response.data == b""
    assert response.content_length == len(client.get("/api/engines").data)
