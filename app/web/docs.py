"""Documentation: the OpenAPI description, Swagger UI over it, and the error catalogue as a page.

Swagger UI's files come from the package `flask-openapi3-swagger`. Its own page is not used:
it needs inline scripts, and asks a public validator for a badge.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import flask_openapi3_swagger
from flask import Blueprint, Response, current_app, jsonify, render_template, send_from_directory
from markupsafe import Markup, escape

from app.errors import catalogue

SUMMARY: Final = "Text in, music out: audio that is proven to play, or an honest error."
DESCRIPTION: Final = """\
`POST /studio-generate` answers with the audio itself, or with a problem (RFC 9457) whose `code` is one of
[the error catalogue](/docs/errors). Each answer carries an `X-Request-ID`.

Who would rather not wait has the piece made by a job: `POST /api/jobs`, then `GET /api/status/{id}` or the events of
`GET /api/jobs/{id}/events`, then `GET /api/jobs/{id}/audio`. With an `Idempotency-Key` a request can safely be sent
again.
"""

_SWAGGER_FILES: Final = Path(flask_openapi3_swagger.__file__).parent / "templates" / "swagger"
_SWAGGER_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ERRORS_POLICY: Final = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ONE_DAY_S: Final = 86_400


def blueprint() -> Blueprint:
    """Return the pages under `/docs`; they describe the API and are no part of it."""
    pages = Blueprint("docs", __name__, url_prefix="/docs", template_folder="templates", static_folder="static")

    @pages.app_template_filter("code")
    def code(text: str) -> Markup:
        return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped right here

    @pages.get("")
    def without_slash() -> Response:
        # Flask would redirect too, but to a scheme and host that behind a proxy are not what the caller knows.
        return Response(status=308, headers={"Location": "/docs/"})

    @pages.get("/")
    def swagger_page() -> Response:
        return _page(render_template("swagger.html"), policy=_SWAGGER_POLICY)

    @pages.get("/openapi.json")
    def description() -> Response:
        described = current_app.api_doc  # type: ignore[attr-defined]
        # Without a login, flask-openapi3 writes null here, which is not valid; an empty object
        # makes Swagger UI offer a login that does not exist.
        if not described["components"].get("securitySchemes"):
            described["components"].pop("securitySchemes", None)
        return jsonify(described)

    @pages.get("/errors")
    def errors_page() -> Response:
        return _page(render_template("errors.html", rows=catalogue()), policy=_ERRORS_POLICY)

    @pages.get("/swagger/<path:name>")
    def swagger_file(name: str) -> Response:
        return send_from_directory(_SWAGGER_FILES, name, max_age=_ONE_DAY_S)

    return pages


def _page(html: str, *, policy: str) -> Response:
    return Response(html, mimetype="text/html", headers={"Content-Security-Policy": policy})
