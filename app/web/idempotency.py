"""Idempotency-Key: the same key with the same body never starts a second piece.

Source: draft-ietf-httpapi-idempotency-key-header-07. There the key is a string of structured
fields (`"8e03978e"`); most clients send it bare, so both are taken, and mean the same key.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Final

from flask import Response, request
from pydantic import BaseModel

from app.errors import FieldError, InvalidRequest

HEADER: Final = "Idempotency-Key"
LONGEST_KEY: Final = 255

_STRING: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')
"""RFC 9651 §3.3.3, and not empty."""
_PRINTABLE: Final = re.compile(r"[ -~]+")

PARAMETER: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": f"1 to {LONGEST_KEY} printable ASCII characters that name this request. Sent again for as long as "
    "its job is kept, with the same body, it never starts a second piece: the first answer is given again, with "
    "`Idempotent-Replayed: true`, and one that is still running is waited for. With another body it is refused.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}
REPLAYED_HEADER: Final = {
    "Idempotent-Replayed": {
        "description": "`true` when an earlier request with the same `Idempotency-Key` started this piece.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}


def key() -> str | None:
    """Return the key of the request, or None when it has none.

    Raises:
        InvalidRequest: there is a key that cannot be used.
    """
    sent = request.headers.get(HEADER)
    if sent is None:
        return None
    sent = sent.strip(" ")
    string = _STRING.fullmatch(sent)
    found = re.sub(r"\\(.)", r"\1", string[1]) if string else sent
    if not _PRINTABLE.fullmatch(found) or len(found) > LONGEST_KEY:
        message = f"must be 1 to {LONGEST_KEY} printable ASCII characters"
        raise InvalidRequest("The header Idempotency-Key cannot be used.", fields=(FieldError(HEADER, message),))
    return found


def digest(body: BaseModel, **more: str) -> str:
    """Return the SHA-256 of what the caller sent, in hexadecimal, the same for the same request in other words.

    A seed that the service draws is no part of it.

    Args:
        body: The body of the request.
        more: What was asked for elsewhere in the request.
    """
    fields = body.model_dump(mode="json", exclude_none=True) | more
    fields = {name: value for name, value in fields.items() if value not in ("", [])}
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def mark(response: Response, *, replayed: bool) -> Response:
    """Say in the response whether an earlier request with the same key started the piece."""
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response
