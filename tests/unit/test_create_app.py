"""One place joins the parts, and importing the package costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fakes import FakeEngine
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel, Field

from app import create_app
from app.settings import Settings, SettingsError


def test_importing_the_package_brings_no_web_framework() -> None:
    program = "import sys, app, app.errors; sys.exit('flask' in sys.modules or 'pydantic' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0


@pytest.mark.parametrize("name", ["composer", "huggingface"])
def test_the_settings_name_the_engine(name: str) -> None:
    app = create_app(Settings.model_validate({"STUDIO_ENGINE": name}))

    assert app.test_client().get("/health").json["engine"] == name  # type: ignore[index]


@pytest.mark.parametrize(("name", "status"), [("composer", 200), ("huggingface", 503)])
def test_only_the_built_in_engine_is_ready_without_configuration(name: str, status: int) -> None:
    app = create_app(Settings.model_validate({"STUDIO_ENGINE": name}))

    assert app.test_client().get("/ready").status_code == status


def test_without_settings_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_ENGINE", "composer")
    assert create_app().test_client().get("/health").get_json()["engine"] == "composer"

    monkeypatch.setenv("STUDIO_ENGINE", "orchestra")
    with pytest.raises(SettingsError, match="STUDIO_ENGINE"):
        create_app()


class Page(BaseModel):
    limit: int = Field(le=100)


def test_what_flask_openapi3_refuses_has_the_shape_of_all_problems() -> None:
    """Bodies are ours to read; queries and paths are left to the library."""
    app = create_app(Settings(), engine=FakeEngine())
    api = APIBlueprint("pages", __name__)

    @api.get("/pages")
    def pages(query: Page) -> str:
        return str(query.limit)

    app.register_api(api)
    client = app.test_client()

    assert client.get("/pages?limit=5").text == "5"
    problem = client.get("/pages?limit=500").get_json(force=True)
    assert problem["code"] == "invalid-request"
    assert problem["errors"] == [{"field": "limit", "message": "must be at most 100"}]
