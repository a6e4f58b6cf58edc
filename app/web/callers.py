"""Callers: who may call, told apart by API keys. Where no keys are configured everybody may, and has no name.

What a caller submitted belongs to the caller's name: jobs, idempotency keys and lists of one
are invisible to the others.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from flask import g, request
from flask_openapi3 import OpenAPI

from app.errors import Unauthorized

NOBODY: Final = ""
"""The name of every caller where no keys are configured."""

_SCHEMES: Final[Mapping[str, dict[str, Any]]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def protect(app: OpenAPI, digests: Sequence[tuple[str, str]]) -> None:
    """Ask every caller of the API for a key, and note the caller's name as `g.caller`.

    Free for everyone are the documentation and the questions of platforms: whatever lies outside
    of `/studio-generate` and `/api/`.

    Args:
        digests: The name of each key's caller and the key's SHA-256, in hexadecimal; none lets everybody in. While
            a key is replaced by another one, both belong to the same name.
    """
    if digests:
        app.security_schemes = {**_SCHEMES}
        app.openapi_extensions["security"] = [{name: []} for name in _SCHEMES]

    @app.before_request
    def identify() -> None:
        g.caller = NOBODY
        is_api = request.path == "/studio-generate" or request.path.startswith("/api/")
        # A browser asks for the methods of a route before it is allowed to send a key.
        if digests and is_api and request.method != "OPTIONS":
            g.caller = _name_of(_key(), digests)
            structlog.contextvars.bind_contextvars(caller=g.caller)


def _key() -> str:
    # Not `request.authorization`, which takes a token with an inner "=" for parameters.
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("X-API-Key", "")


def _name_of(key: str, digests: Sequence[tuple[str, str]]) -> str:
    digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
    # All of them are compared, whichever fits: how long it takes tells nothing about the keys.
    names = [name for name, each in digests if hmac.compare_digest(each, digest)]
    if not names:
        raise Unauthorized("The API key is not known." if key else "")
    return names[0]
