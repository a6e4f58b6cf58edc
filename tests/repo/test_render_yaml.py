"""The blueprints keep to Render's rules. They are data here, so that the files can be checked without Render.

Source: Render's blueprint reference and its documentation of free services and health checks, read 2026-08.
"""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from app import create_app
from app.cli import main
from app.settings import Settings

ROOT: Final = Path(__file__).parents[2]
Service = dict[str, Any]

TOP_LEVEL: Final = {"services", "databases", "envVarGroups", "projects", "previews"}
SERVICE: Final = {
    *("type", "name", "runtime", "plan", "region", "branch", "repo", "rootDir", "buildCommand", "startCommand"),
    *("preDeployCommand", "healthCheckPath", "autoDeployTrigger", "maxShutdownDelaySeconds", "numInstances"),
    *("scaling", "disk", "envVars", "buildFilter", "domains", "previews"),
}
DATABASE: Final = {
    *("name", "plan", "region", "databaseName", "user", "postgresMajorVersion", "ipAllowList", "diskSizeGB"),
    *("previewPlan", "previewDiskSizeGB", "readReplicas", "highAvailability", "storageAutoscalingEnabled"),
}
TYPES: Final = {"web", "pserv", "worker", "cron", "keyvalue"}
RUNTIMES: Final = {"python", "node", "ruby", "go", "rust", "elixir", "docker", "image", "static"}
DATABASE_PLAN: Final = r"free|(basic|pro|accelerated)-\d+(mb|gb)"
NOT_ON_FREE: Final = {"disk", "scaling", "preDeployCommand"}
NOT_FREE: Final = {"worker", "pserv", "cron"}
SHUTDOWN_DELAY_S: Final = range(1, 301)
SOURCES_OF_A_VALUE: Final = {"value", "generateValue", "sync", "fromDatabase", "fromService"}
RESERVED_PORTS: Final = {18012, 18013, 19099}
ASKED_FOR: Final = {"HF_API_URL", "HF_TOKEN"}
BUCKET: Final = {
    *("STUDIO_STORE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"),
    "AWS_ENDPOINT_URL",  # what makes R2 and others of it
}


def blueprint(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return document


BLUEPRINTS: Final = {name: blueprint(name) for name in ("render.yaml", "render-scale.yaml")}
SERVICES: Final = {each["name"]: each for document in BLUEPRINTS.values() for each in document["services"]}
WEB: Final = {name: service for name, service in SERVICES.items() if service["type"] == "web"}
DATABASES: Final = {each["name"]: each for each in BLUEPRINTS["render-scale.yaml"]["databases"]}
FREE, SCALED, WORKER = SERVICES["studio-music-api"], SERVICES["studio-api"], SERVICES["studio-worker"]

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
each_web_service = pytest.mark.parametrize("service", WEB.values(), ids=WEB)


def sources(service: Service) -> dict[str, Any]:
    """Return where each variable has its value from, by its name."""
    return {each["key"]: {name: each[name] for name in each if name != "key"} for each in service["envVars"]}


def asked_for(service: Service) -> set[str]:
    return {key for key, source in sources(service).items() if "sync" in source}


@pytest.mark.parametrize("document", BLUEPRINTS.values(), ids=BLUEPRINTS)
def test_only_known_keys_stand_there(document: dict[str, Any]) -> None:
    assert set(document) <= TOP_LEVEL
    for service in document["services"]:
        assert set(service) <= SERVICE
    for database in document.get("databases", ()):
        assert set(database) <= DATABASE


@each_service
def test_it_is_a_service_in_python(service: Service) -> None:
    assert service["type"] in TYPES
    assert service["runtime"] in RUNTIMES
    assert service["runtime"] == "python"
    assert re.fullmatch(r"[a-z0-9-]{1,63}", service["name"])
    assert service["plan"] != "free" or service["type"] not in NOT_FREE


def test_no_name_comes_twice() -> None:
    names = [each["name"] for document in BLUEPRINTS.values() for each in document["services"]] + list(DATABASES)

    assert len(names) == len(set(names))


def test_the_free_plan_allows_what_is_asked_for() -> None:
    (service,) = BLUEPRINTS["render.yaml"]["services"]
    assert service["plan"] == "free"
    assert not set(service) & NOT_ON_FREE
    assert service.get("numInstances", 1) == 1


def test_the_database_is_private() -> None:
    for database in DATABASES.values():
        assert re.fullmatch(DATABASE_PLAN, database["plan"])
        assert re.fullmatch(r"1[3-8]", database["postgresMajorVersion"])
        assert database["ipAllowList"] == []


@each_service
def test_a_generation_may_finish_before_the_process_is_killed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay_s = service["maxShutdownDelaySeconds"]
    monkeypatch.syspath_prepend(str(ROOT))

    server = runpy.run_path(str(ROOT / "gunicorn.conf.py"))

    assert delay_s in SHUTDOWN_DELAY_S
    assert server["graceful_timeout"] + 3 <= delay_s


@each_service
def test_each_variable_has_one_source(service: Service) -> None:
    for variable in service["envVars"]:
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", variable["key"])
        (source,) = set(variable) - {"key"}
        assert source in SOURCES_OF_A_VALUE
        assert source != "value" or isinstance(variable["value"], str), "YAML turns 3.10 into 3.1"
        assert source != "sync" or variable["sync"] is False


@each_service
def test_what_a_variable_is_taken_from_exists(service: Service) -> None:
    for source in sources(service).values():
        if "fromDatabase" in source:
            assert source["fromDatabase"]["name"] in DATABASES
            assert source["fromDatabase"]["property"] == "connectionString"
        if "fromService" in source:
            other = SERVICES[source["fromService"]["name"]]
            assert other["type"] == source["fromService"]["type"]
            assert source["fromService"]["envVarKey"] in asked_for(other)


@each_service
def test_no_variable_comes_twice(service: Service) -> None:
    keys = [variable["key"] for variable in service["envVars"]]

    assert len(keys) == len(set(keys))
    assert "PORT" not in keys, "Render sets it"


@each_service
def test_the_values_are_ones_the_service_starts_with(service: Service) -> None:
    ours = {field.alias for field in Settings.model_fields.values()}
    values = {key: source["value"] for key, source in sources(service).items() if "value" in source}

    settings = Settings.model_validate({name: value for name, value in values.items() if name in ours})

    assert settings.engine == "huggingface"
    assert values["MALLOC_ARENA_MAX"] == "2"
    assert {key for key in sources(service) if key.startswith(("STUDIO_", "HF_"))} <= ours


@each_web_service
def test_as_many_generations_as_its_memory_is_enough_for(service: Service) -> None:
    told = re.search(r"at most (\d+) with jobs on 512 MB", (ROOT / "docs" / "operations.md").read_text("utf-8"))

    assert told
    assert service["plan"] in {"free", "starter"}, "others have more than 512 MB"
    assert sources(service)["STUDIO_MAX_ACTIVE"] == {"value": told[1]}


def test_one_is_asked_for_what_only_one_can_know() -> None:
    assert asked_for(FREE) == ASKED_FOR
    assert asked_for(SCALED) == ASKED_FOR | BUCKET
    assert asked_for(WORKER) == set(), "the same answers, asked for once"


def test_web_and_workers_share_what_they_must() -> None:
    shared = {*ASKED_FOR, *BUCKET, "STUDIO_DATABASE_URL", "STUDIO_ENGINE", "PYTHON_VERSION"}
    for key in shared:
        here, there = sources(SCALED)[key], sources(WORKER)[key]
        assert there == here or there["fromService"] == {"type": "web", "name": SCALED["name"], "envVarKey": key}


@each_service
def test_python_is_a_full_version_that_the_package_takes(service: Service) -> None:
    version = sources(service)["PYTHON_VERSION"]["value"]

    match = re.fullmatch(r"3\.(\d+)\.\d+", version)
    assert match
    assert int(match[1]) >= 11


@each_web_service
def test_the_health_check_is_a_route_that_answers(service: Service) -> None:
    client = create_app(Settings(), engine=None).test_client()

    response = client.get(service["healthCheckPath"], headers={"Host": f"{service['name']}.onrender.com"})

    assert response.status_code == 200


@each_service
def test_what_is_installed_is_what_was_locked(service: Service) -> None:
    assert service["buildCommand"] == "pip install --require-hashes -r requirements.txt"


@each_web_service
def test_gunicorn_serves(service: Service) -> None:
    assert service["startCommand"] == "gunicorn wsgi:app"


def test_the_worker_is_a_command_of_ours() -> None:
    python, option, module, command = shlex.split(WORKER["startCommand"])

    assert (python, option, module) == ("python", "-m", main.callback.__module__ if main.callback else "")
    assert command in main.commands


def test_on_render_it_listens_to_the_world_on_the_given_port() -> None:
    assert 10_000 not in RESERVED_PORTS
    assert Settings.model_validate({"PORT": 10_000}).bind == "0.0.0.0:10000"
