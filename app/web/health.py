"""Health: am I up (`/health`), and can I do my job (`/ready`)?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import structlog
from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from app.errors import EngineNotConfigured, NotFound, NotReady, StudioError
from app.logs import Scrubber
from app.studio import Studio
from app.web import problems
from app.web.jobs import OpenJobs
from app.web.schemas import Health, Readiness

_log = structlog.get_logger(__name__)

_NO_JOB: Final = "0" * 32

Check = Callable[[], str | None]
"""Says what is missing, or None; may raise a `StudioError` that says so."""


_WITHOUT_KEY: Final[dict[str, Any]] = {"security": []}
"""For platforms, which have no API key."""


def engine_check(studio: Studio) -> Check:
    """Return the check whether there is an engine at all."""
    return lambda: None if studio.is_configured else f"{EngineNotConfigured.title} {EngineNotConfigured.hint}"


def jobs_check(jobs: OpenJobs) -> Check:
    """Return the check whether jobs can be asked about."""

    def check() -> str | None:
        with suppress(NotFound):
            jobs().get(_NO_JOB)
        return None

    return check


def blueprint(*, version: str, engine_name: str, checks: Mapping[str, Check]) -> APIBlueprint:
    """Return the routes.

    Args:
        version: Of this service.
        engine_name: The engine that is configured.
        checks: What `/ready` asks, by name.
    """
    api = APIBlueprint("health", __name__, abp_tags=[Tag(name="Health", description="Am I up, and can I do my job?")])
    # Made once: this answer must come however busy the process is.
    health = Health(status="ok", version=version, engine=engine_name).model_dump_json()

    @api.get(
        "/health",
        summary="Am I up?",
        responses={"200": Health, **problems.responses()},
        openapi_extensions=_WITHOUT_KEY,
    )
    def is_up() -> Response:
        """Answers at once and touches nothing: neither the engine nor anything beyond this process."""
        return Response(health, mimetype="application/json")

    @api.get(
        "/ready",
        summary="Can I do my job?",
        responses={"200": Readiness, **problems.responses(NotReady)},
        openapi_extensions=_WITHOUT_KEY,
    )
    def is_ready() -> Response:
        """Runs every check and names each; 503 when one of them finds something missing."""
        found = {name: _run(name, check) for name, check in checks.items()}
        if missing := [name for name, result in found.items() if result != "ok"]:
            error = NotReady(f"Not ready: {', '.join(missing)}.")
            return problems.answer(error, scrub=Scrubber(), checks=found)
        return Response(Readiness(status="ok", checks=found).model_dump_json(), mimetype="application/json")

    return api


def _run(name: str, check: Check) -> str:
    try:
        return check() or "ok"
    except StudioError as error:
        _log.warning("check failed", check=name, upstream_text=error.log_text)
        return error.detail or error.title
    except Exception:  # noqa: BLE001 - whatever it is, this service is not ready
        _log.exception("check failed", check=name)
        return "The check itself failed; the log has the reason."
