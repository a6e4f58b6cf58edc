"""render.yaml keeps to Render's rules. They are data here, so that the file can be checked without Render.

Source: Render's blueprint reference and its documentation of free services and health checks, read 2026-08.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from app import create_app
from app.settings import Settings

ROOT: Final = Path(__file__).parents[2]
Service = dict[str, Any]

TOP_LEVEL: Final = {"services", "databases", "envVarGroups", "projects", "previews"}
SERVICE: Final = {
    *("type", "name", "runtime", "plan", "region", "branch", "repo", "rootDir", "buildCommand", "startCommand"),
    *("preDeployCommand", "healthCheckPath", "autoDeployTrigger", "maxShutdownDelaySeconds", "numInstances"),
    *("scaling", "disk", "envVars", "buildFilter", "domains", "previews"),
}
TYPES: Final = {"web", "pserv", "worker", "cron", "keyvalue"}
RUNTIMES: Final = {"python", "node", "ruby", "go", "rust", "elixir", "docker", "image", "static"}
NOT_ON_FREE: Final = {"disk", "scaling", "preDeployCommand"}
SHUTDOWN_DELAY_S: Final = range(1, 301)
SOURCES_OF_A_VALUE: Final = {"value", "generateValue", "sync", "fromDatabase", "fromService"}
RESERVED_PORTS: Final = {18012, 18013, 19099}


@pytest.fixture(scope="module")
def blueprint() -> dict[str, Any]:
    text = (ROOT / "render.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


@pytest.fixture(scope="module")
def service(blueprint: dict[str, Any]) -> Service:
    (service,) = blueprint["services"]
    assert isinstance(service, dict)
    return service


def test_only_known_keys_stand_there(blueprint: dict[str, Any], service: Service) -> None:
    assert set(blueprint) <= TOP_LEVEL
    assert set(service) <= SERVICE


def test_it_is_a_web_service_in_python(service: Service) -> None:
    assert service["type"] in TYPES
    assert service["runtime"] in RUNTIMES
    assert (service["type"], service["runtime"]) == ("web", "python")
    assert re.fullmatch(r"[a-z0-9-]{1,63}", service["name"])


def test_the_free_plan_allows_what_is_asked_for(service: Service) -> None:
    assert service["plan"] == "free"
    assert not set(service) & NOT_ON_FREE
    assert service.get("numInstances", 1) == 1


def test_a_generation_may_finish_before_the_process_is_killed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay_s = service["maxShutdownDelaySeconds"]
    monkeypatch.syspath_prepend(str(ROOT))

    server = runpy.run_path(str(ROOT / "gunicorn.conf.py"))

    assert delay_s in SHUTDOWN_DELAY_S
    assert server["graceful_timeout"] + 3 <= delay_s


def test_each_variable_has_one_source(service: Service) -> None:
    for variable in service["envVars"]:
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", variable["key"])
        (source,) = set(variable) - {"key"}
        assert source in SOURCES_OF_A_VALUE
        assert source != "value" or isinstance(variable["value"], str), "YAML turns 3.10 into 3.1"
        assert source != "sync" or variable["sync"] is False


def test_no_variable_comes_twice(service: Service) -> None:
    keys = [variable["key"] for variable in service["envVars"]]

    assert len(keys) == len(set(keys))
    assert "PORT" not in keys, "Render sets it"


def test_the_values_are_ones_the_service_starts_with(service: Service) -> None:
    ours = {field.alias for field in Settings.model_fields.values()}
    values = {each["key"]: each["value"] for each in service["envVars"] if "value" in each}

    settings = Settings.model_validate({name: value for name, value in values.items() if name in ours})

    assert settings.engine == "huggingface"
    assert {each["key"] for each in service["envVars"] if "sync" in each} == {"HF_API_URL", "HF_TOKEN"}
    assert values["MALLOC_ARENA_MAX"] == "2"


def test_python_is_a_full_version_that_the_package_takes(service: Service) -> None:
    (version,) = (each["value"] for each in service["envVars"] if each["key"] == "PYTHON_VERSION")

    match = re.fullmatch(r"3\.(\d+)\.\d+", version)
    assert match
    assert int(match[1]) >= 11


def test_the_health_check_is_a_route_that_answers(service: Service) -> None:
    client = create_app(Settings(), engine=None).test_client()

    response = client.get(service["healthCheckPath"], headers={"Host": "studio-music-api.onrender.com"})

    assert response.status_code == 200


def test_what_is_installed_is_what_was_locked(service: Service) -> None:
    assert service["buildCommand"] == "pip install --require-hashes -r requirements.txt"
    assert service["startCommand"] == "gunicorn wsgi:app"


def test_on_render_it_listens_to_the_world_on_the_given_port() -> None:
    assert 10_000 not in RESERVED_PORTS
    assert Settings.model_validate({"PORT": 10_000}).bind == "0.0.0.0:10000"
