"""An engine that cannot serve, as callers see it: the headers, the job, readiness, and what is refused."""

from __future__ import annotations

import json
import time

import pytest
from fakes import FakeEngine, MakeClient, Outcome
from flask.testing import FlaskClient
from job_service import MakeService

from app.errors import PromptRefused, UpstreamTimeout, UpstreamUnavailable
from app.jobs.job import COMPOSING, Result
from app.settings import Settings, SettingsError, load

REQUEST = {"prompt": "calm piano", "duration": 5, "seed": 7}
UPSTREAM = {"HF_API_URL": "owner/space", "STUDIO_BREAKER_FAILURES": 1, "STUDIO_BREAKER_OPEN_S": 60}
COMPOSER = {"STUDIO_FALLBACK": "composer"}


def huggingface(*outcomes: Outcome, **fields: object) -> FakeEngine:
    """Return an engine that goes for the one with an upstream."""
    engine = FakeEngine(*outcomes, **fields)  # type: ignore[arg-type]
    engine.name = "huggingface"
    return engine


def readiness(client: FlaskClient) -> tuple[int, str]:
    response = client.get("/ready")
    return response.status_code, str(json.loads(response.data)["checks"]["breaker"])


# ---------------------------------------------------------------------- callers who wait


def test_the_answer_says_who_made_it_and_why(make_client: MakeClient) -> None:
    client = make_client(huggingface(UpstreamTimeout()), **UPSTREAM, **COMPOSER)

    first, second = (client.post("/studio-generate", json=REQUEST) for _ in range(2))

    assert (first.status_code, second.status_code) == (200, 200)
    assert first.headers["Studio-Engine"] == second.headers["Studio-Engine"] == "composer"
    assert first.headers["Studio-Fallback-Reason"] == "upstream-timeout"
    assert second.headers["Studio-Fallback-Reason"] == "upstream-unavailable"
    assert (first.headers["Studio-Attempts"], second.headers["Studio-Attempts"]) == ("2", "1")
    assert first.data == second.data


def test_an_answer_of_the_first_engine_has_no_reason(client: FlaskClient) -> None:
    response = client.post("/studio-generate", json=REQUEST)

    assert "Studio-Fallback-Reason" not in response.headers


def test_a_service_without_its_engine_works_with_a_fallback(make_client: MakeClient) -> None:
    client = make_client(None, **COMPOSER)

    response = client.post("/studio-generate", json={**REQUEST, "format": "mid"})
    ready = client.get("/ready")

    assert response.headers["Studio-Engine"] == "composer"
    assert response.headers["Studio-Fallback-Reason"] == "engine-not-configured"
    assert ready.status_code == 200
    assert ready.get_json()["checks"]["engine"] == "ok: The music engine is not set up. composer takes over."
    assert [each["name"] for each in client.get("/api/engines").get_json()["engines"] if each["in_use"]] == ["composer"]


def test_a_refusal_stays_a_refusal(make_client: MakeClient) -> None:
    client = make_client(huggingface(PromptRefused("Too loud.")), **UPSTREAM, **COMPOSER)

    response = client.post("/studio-generate", json=REQUEST)

    assert (response.status_code, json.loads(response.data)["code"]) == (400, "prompt-refused")


def test_the_formats_on_offer_stay_those_of_the_engine_that_is_configured(make_client: MakeClient) -> None:
    client = make_client(huggingface(UpstreamTimeout()), **UPSTREAM, **COMPOSER)

    response = client.post("/studio-generate", json={**REQUEST, "format": "mid"})

    assert (response.status_code, json.loads(response.data)["code"]) == (400, "invalid-request")


def test_while_the_upstream_is_known_to_be_down_callers_are_told_when_to_come_back(make_client: MakeClient) -> None:
    engine = huggingface(UpstreamTimeout())
    client = make_client(engine, **UPSTREAM)
    client.post("/studio-generate", json=REQUEST)

    response = client.post("/studio-generate", json=REQUEST)

    problem = json.loads(response.data)
    assert (response.status_code, problem["code"], problem["attempts"]) == (503, "upstream-unavailable", 0)
    assert "known to be down" in problem["detail"]
    assert 55 <= int(response.headers["Retry-After"]) == problem["retry_after"] <= 60
    assert len(engine.briefs) == 1


# ---------------------------------------------------------------------- readiness


def test_an_upstream_that_is_down_makes_the_service_unready_but_not_dead(make_client: MakeClient) -> None:
    client = make_client(huggingface(UpstreamUnavailable()), **UPSTREAM)
    assert readiness(client) == (200, "ok")

    client.post("/studio-generate", json=REQUEST)

    assert readiness(client) == (503, "huggingface is known to be down and is asked again in 60 s.")
    assert client.get("/health").status_code == 200


def test_with_somebody_to_take_over_the_service_is_ready_and_says_so(make_client: MakeClient) -> None:
    client = make_client(huggingface(UpstreamUnavailable()), **UPSTREAM, **COMPOSER)

    client.post("/studio-generate", json=REQUEST)

    assert readiness(client) == (
        200,
        "ok: huggingface is known to be down and is asked again in 60 s; composer takes over.",
    )


def test_when_a_probe_is_due_the_service_is_ready_for_it(make_client: MakeClient) -> None:
    """A platform that sends requests only to who is ready would never send the probe."""
    engine = huggingface(UpstreamUnavailable())
    client = make_client(engine, **{**UPSTREAM, "STUDIO_BREAKER_OPEN_S": 1})
    client.post("/studio-generate", json=REQUEST)
    assert readiness(client)[0] == 503

    for _ in range(300):
        if readiness(client)[0] == 200:
            break
        time.sleep(0.01)

    assert readiness(client) == (200, "ok")
    assert len(engine.briefs) == 1


# ---------------------------------------------------------------------- jobs


def test_a_job_and_its_audio_say_who_made_it_and_why(make_service: MakeService) -> None:
    service = make_service()
    job_id = service.submit()
    before = service.status(job_id)
    assert service.records.start(job_id, 1, COMPOSING)
    assert service.records.start(job_id, 2, "Another one…", engine="composer")
    during = service.status(job_id)
    service.store.put(f"{job_id}.wav", b"RIFF")
    result = Result(f"{job_id}.wav", "a" * 64, 4, "audio/wav", 1.0, 7, (), "composer", "upstream-timeout")
    assert service.records.succeed(job_id, result)

    after = service.status(job_id)
    audio = service.client.head(f"/api/jobs/{job_id}/audio")

    assert [(job["engine"], job["fallback_reason"]) for job in (before, during, after)] == [
        ("fake", None),
        ("composer", None),
        ("composer", "upstream-timeout"),
    ]
    assert audio.headers["Studio-Engine"] == "composer"
    assert audio.headers["Studio-Fallback-Reason"] == "upstream-timeout"


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("value", "mistake"),
    [
        ("composr", "STUDIO_FALLBACK: there is no engine 'composr'; there are huggingface and composer"),
        ("composer, ", "STUDIO_FALLBACK: there is no engine ''"),
        ("huggingface", "STUDIO_FALLBACK must name other engines than STUDIO_ENGINE, which is 'huggingface'"),
        ("composer,huggingface", "STUDIO_FALLBACK must name other engines"),
    ],
)
def test_fallbacks_that_cannot_be_are_refused_by_name(
    value: str, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_FALLBACK", value)

    with pytest.raises(SettingsError) as raised:
        load()

    assert mistake in str(raised.value)


@pytest.mark.parametrize(
    ("value", "engines"), [("", ()), ("composer", ("composer",)), (" composer , composer", ("composer",))]
)
def test_fallbacks_are_read_once_each(value: str, engines: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_FALLBACK", value)

    assert load().fallback_engines == engines


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STUDIO_BREAKER_FAILURES", "0"),
        ("STUDIO_BREAKER_FAILURES", "1001"),
        ("STUDIO_BREAKER_OPEN_S", "0.5"),
        ("STUDIO_BREAKER_OPEN_S", "121"),
        ("STUDIO_BREAKER_OPEN_S", "inf"),
    ],
)
def test_the_breakers_settings_have_limits(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.model_validate({name: value})
