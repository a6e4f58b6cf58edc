"""API keys: who may call, and that callers cannot reach into each other's things."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from api_keys import BOB, KEYS, NINA, keys
from click.testing import CliRunner
from fakes import FakeEngine, MakeClient
from job_service import JobService, MakeService
from pydantic import ValidationError

from app.cli import main
from app.settings import Settings
from app.web import callers

PROTECTED = [
    ("POST", "/studio-generate"),
    ("POST", "/api/jobs"),
    ("GET", "/api/jobs"),
    ("GET", "/api/engines"),
    ("GET", "/api/status/" + "0" * 32),
    ("GET", "/api/jobs/" + "0" * 32 + "/events"),
    ("GET", "/api/jobs/" + "0" * 32 + "/audio"),
    ("DELETE", "/api/jobs/" + "0" * 32),
    ("GET", "/api/jobs/" + "0" * 32 + "/analyze-failure"),
    ("POST", "/api/analyze-failure"),
    ("PUT", "/api/training/local/run-1"),
    ("GET", "/api/training/local/run-1/analyze-failure"),
    ("GET", "/api/nowhere"),
    ("GET", "/metrics"),
]


def code_of(response: Any) -> str:
    assert response.content_type == "application/problem+json"
    return str(json.loads(response.data)["code"])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer nina"},
        {"Authorization": "Bearer " + hashlib.sha256(b"nina's key").hexdigest()},
        {"Authorization": "Basic bmluYTpuaW5hJ3Mga2V5"},
        {"Authorization": "nina's key"},
        {"Authorization": "Bearer \xff"},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
        {"Cookie": "X-API-Key=nina's key"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_a_known_key_nothing_of_the_api_can_be_called(
    make_client: MakeClient, method: str, path: str, headers: dict[str, str]
) -> None:
    engine = FakeEngine()
    json_body = {"prompt": "rain"} if method == "POST" else None

    response = make_client(engine, **KEYS).open(path, method=method, headers=headers, json=json_body)

    assert response.status_code == 401
    assert code_of(response) == "unauthorized"
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert engine.briefs == []


@pytest.mark.parametrize("headers", [NINA, BOB, {"authorization": "bearer nina's key"}], ids=str)
def test_a_known_key_is_enough(make_client: MakeClient, headers: dict[str, str]) -> None:
    response = make_client(FakeEngine(), **KEYS).post("/studio-generate", json={"prompt": "rain"}, headers=headers)

    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/health", "/docs/", "/docs/openapi.json", "/docs/errors", "/nowhere"])
def test_platforms_and_readers_need_no_key(make_client: MakeClient, path: str) -> None:
    assert make_client(FakeEngine(), **KEYS).get(path).status_code != 401


def test_a_browser_may_ask_for_the_methods_without_a_key(make_client: MakeClient) -> None:
    assert make_client(FakeEngine(), **KEYS).options("/studio-generate").status_code == 200


def test_without_configured_keys_everybody_may_call(make_client: MakeClient) -> None:
    response = make_client(FakeEngine()).post("/studio-generate", json={"prompt": "rain"}, headers=NINA)

    assert response.status_code == 200


def test_without_configured_keys_the_metrics_are_open(make_client: MakeClient) -> None:
    assert make_client(FakeEngine()).get("/metrics").status_code == 200
    assert make_client(FakeEngine(), **KEYS).get("/metrics", headers=NINA).status_code == 200


@pytest.mark.parametrize(
    ("settings", "is_warned"),
    [
        ({}, False),
        ({"STUDIO_HOST": "::1"}, False),
        ({"STUDIO_HOST": "localhost"}, False),
        ({"STUDIO_HOST": "127.0.0.2", "PORT": "80"}, False),
        ({"PORT": "10000"}, True),
        ({"STUDIO_HOST": "192.0.2.1"}, True),
        ({"STUDIO_HOST": "::"}, True),
        ({"PORT": "10000", **KEYS}, False),
    ],
    ids=str,
)
def test_a_service_that_the_world_can_use_without_a_key_says_so(
    make_client: MakeClient, capsys: pytest.CaptureFixture[str], settings: dict[str, str], is_warned: bool
) -> None:
    make_client(FakeEngine(), **settings)

    lines = [line for line in capsys.readouterr().out.splitlines() if "everybody may call" in line]
    assert len(lines) == is_warned
    assert all(json.loads(line)["level"] == "warning" for line in lines)


def test_all_keys_are_compared_and_none_letter_by_letter() -> None:
    """How long a comparison takes must not tell how much of a key is right."""
    tree = ast.parse(Path(callers.__file__).read_text(encoding="utf-8"))
    (name_of,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "_name_of"]
    called = {
        node.func.attr
        for node in ast.walk(name_of)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }

    assert "compare_digest" in called
    assert not [node for node in ast.walk(name_of) if isinstance(node, ast.Compare | ast.For | ast.While)]


def test_a_key_appears_neither_in_an_answer_nor_in_the_log(
    make_client: MakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client = make_client(FakeEngine(), **KEYS, STUDIO_LOG_LEVEL="DEBUG")

    answers = [
        client.get("/api/engines", headers={"X-API-Key": "wrong-key-with-secrets"}).text,
        client.get("/api/engines", headers=NINA).text,
    ]

    told = "".join([*answers, capsys.readouterr().out])
    assert "wrong-key-with-secrets" not in told
    assert "nina's key" not in told
    assert '"caller": "nina"' in told


# ---------------------------------------------------------------------- one caller and another


@pytest.fixture
def service(make_service: MakeService) -> JobService:
    return make_service(**KEYS)


def submit_as(service: JobService, headers: dict[str, str], **more: str) -> str:
    response = service.client.post("/api/jobs", json={"prompt": "rain"}, headers={**headers, **more})
    assert response.status_code == 202
    return str(response.get_json()["id"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/status/{}"),
        ("GET", "/api/jobs/{}/events"),
        ("GET", "/api/jobs/{}/audio"),
        ("GET", "/api/jobs/{}/analyze-failure"),
        ("DELETE", "/api/jobs/{}"),
    ],
)
def test_anothers_job_is_as_if_it_were_not_there(service: JobService, method: str, path: str) -> None:
    job_id = submit_as(service, NINA)
    service.run(job_id)

    by_bob = service.client.open(path.format(job_id), method=method, headers=BOB)
    by_nina = service.client.open(path.format(job_id), method=method, headers=NINA)

    assert code_of(by_bob) == "not-found"
    assert by_nina.status_code in (200, 204, 409)


def test_a_key_of_idempotency_belongs_to_its_caller(service: JobService) -> None:
    ids = {submit_as(service, caller, **{"Idempotency-Key": "k"}) for caller in (NINA, BOB, NINA)}

    assert len(ids) == 2


# ---------------------------------------------------------------------- settings and description


@pytest.mark.parametrize(
    "value", ["nina", "nina:key", "nina:" + "0" * 63, "nina:" + "G" * 64, ":" + "0" * 64, "a b:" + "0" * 64]
)
def test_keys_that_cannot_be_used_are_refused_without_being_told(value: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"STUDIO_API_KEYS": value})

    assert "name:digest" in str(caught.value)


def test_the_description_says_that_a_key_is_needed(make_client: MakeClient) -> None:
    with_keys = make_client(FakeEngine(), **KEYS).get("/docs/openapi.json").get_json()
    without = make_client(FakeEngine()).get("/docs/openapi.json").get_json()

    assert with_keys["security"] == [{"bearer": []}, {"key": []}]
    assert set(with_keys["components"]["securitySchemes"]) == {"bearer", "key"}
    assert with_keys["paths"]["/health"]["get"]["security"] == []
    assert "security" not in with_keys["paths"]["/api/jobs"]["post"]
    assert "security" not in without
    assert "securitySchemes" not in without["components"]


def test_the_command_makes_a_key_that_the_service_takes(make_client: MakeClient) -> None:
    made = [CliRunner().invoke(main, ["keys", "new", "nina"]) for _ in range(2)]

    lines = [dict(line.rsplit(maxsplit=1) for line in each.stdout.splitlines()) for each in made]
    key, setting = lines[0]["for the caller"], lines[0]["for the service"]
    name, _, value = setting.partition("=")
    client = make_client(FakeEngine(), **{name: value})
    assert client.get("/api/engines", headers={"X-API-Key": key}).status_code == 200
    assert client.get("/api/engines", headers={"X-API-Key": lines[1]["for the caller"]}).status_code == 401
    assert value == f"nina:{hashlib.sha256(key.encode()).hexdigest()}"
    assert len(key) >= 43, "256 bits"
    assert key not in setting


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a,b", "x" * 65, "é"])
def test_a_name_that_cannot_be_configured_gets_no_key(name: str) -> None:
    result = CliRunner().invoke(main, ["keys", "new", name])

    assert result.exit_code == 1
    assert result.stdout == ""


def test_a_caller_may_have_two_keys_while_one_replaces_the_other(make_service: MakeService) -> None:
    both = ",".join([keys(nina="the old one")["STUDIO_API_KEYS"], keys(nina="the new=one==")["STUDIO_API_KEYS"]])
    service = make_service(STUDIO_API_KEYS=both)
    old, new = {"Authorization": "Bearer the old one"}, {"Authorization": "bearer the new=one=="}
    job_id = service.client.post("/api/jobs", json={"prompt": "rain"}, headers=old).get_json()["id"]

    assert service.client.get(f"/api/status/{job_id}", headers=new).status_code == 200
