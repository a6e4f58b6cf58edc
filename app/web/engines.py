"""GET /api/engines: what can be asked for here, for pages and programs that offer choices."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from app.engines import Entry
from app.errors import Unauthorized
from app.settings import Settings
from app.web import problems
from app.web.schemas import EngineDescription, Engines, InstrumentDescription

_MAX_AGE_S: Final = 300
"""How long a caller may go on without asking again: the answer changes with a deployment only."""

_RESPONSES: Final[problems.Responses] = {
    "200": Engines,
    "304": {"description": "It is still what the `ETag` in `If-None-Match` names."},
    **problems.responses(Unauthorized),
}


def blueprint(engines: Mapping[str, Entry], settings: Settings, *, in_use: str) -> APIBlueprint:
    """Return the route.

    Args:
        engines: The table of all engines.
        settings: Tell which of them are configured.
        in_use: Name of the one that makes this service's music.
    """

    @cache
    def described() -> str:
        """Return the answer; for the first one who asks, all engines are imported."""
        return Engines(
            engines=[
                _described(name, entry, is_configured=entry.build(settings) is not None, is_in_use=name == in_use)
                for name, entry in engines.items()
            ]
        ).model_dump_json()

    api = APIBlueprint("engines", __name__, abp_tags=[Tag(name="Engines", description="What can be asked for.")])

    @api.get("/api/engines", summary="What can the engines do?", responses=_RESPONSES)
    def list_engines() -> Response:
        """Lists each engine with the formats, durations, styles, moods and instruments to choose from.

        It is the same until the service is deployed anew; an `ETag` makes asking again cheap.
        """
        response = Response(described(), mimetype="application/json")
        response.cache_control.max_age = _MAX_AGE_S
        response.cache_control.private = True  # a cache for many would show it to who has no key
        response.add_etag()
        response.make_conditional(request)
        return response

    return api


def _described(name: str, entry: Entry, *, is_configured: bool, is_in_use: bool) -> EngineDescription:
    able = entry.abilities
    return EngineDescription(
        name=name,
        in_use=is_in_use,
        configured=is_configured,
        formats=list(able.formats),
        min_duration=able.min_duration_s,
        max_duration=able.max_duration_s,
        styles=list(able.styles),
        moods=list(able.moods),
        instruments=[InstrumentDescription(name=each, family=family) for each, family in able.instruments.items()],
    )
