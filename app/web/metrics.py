"""GET /metrics, and what is noted of each request for it."""

from __future__ import annotations

import functools
import re
import time
from typing import Final

from flask import Flask, Response, g, request
from flask_openapi3 import APIBlueprint, Tag

from app.errors import Unauthorized
from app.metrics import MEDIA_TYPE, Metrics
from app.web import problems

_CONVERTED: Final = re.compile(r"<(?:\w+:)?(\w+)>")
"""A part of a path as Flask writes it: `<id>`, `<path:name>`."""

_RESPONSES: Final[problems.Responses] = {
    "200": {
        "description": "The metrics of this process since it was started, in Prometheus' text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    },
    **problems.responses(Unauthorized),
}


def observe(app: Flask, metrics: Metrics) -> None:
    """Count every answer of the application; to be called after `guard.protect`, which notes when a request came."""

    @app.after_request
    def count(response: Response) -> Response:
        metrics.request(
            route=_template(rule.rule) if (rule := request.url_rule) else "",
            method=request.method,
            status=response.status_code,
            code=g.get("code") or "",
            elapsed_s=time.monotonic() - g.arrived_s,
            size_bytes=None if request.method == "HEAD" else response.content_length,
        )
        return response


@functools.lru_cache(maxsize=256)
def _template(rule: str) -> str:
    return _CONVERTED.sub(r"{\1}", rule)


def blueprint(metrics: Metrics) -> APIBlueprint:
    """Return the route."""
    api = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="Health")])

    @api.get("/metrics", summary="How is it going?", responses=_RESPONSES)
    def tell_metrics() -> Response:
        """Counts, durations and states for Prometheus, of this process alone; each replica is asked by itself.

        Needs an API key where keys are configured.
        """
        return Response(metrics.render(), content_type=MEDIA_TYPE)

    return api
