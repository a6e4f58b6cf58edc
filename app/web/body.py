"""Request bodies: from raw bytes to a model, or to an `InvalidRequest` that names each field.

flask-openapi3 would parse them too, but takes malformed JSON for an empty body, accepts
`NaN` and repeated names, and falls over deep nesting.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import wraps
from typing import Final, NoReturn, TypeVar, get_type_hints

from flask import request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from app.errors import FieldError, InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from app.web.schemas import field_errors

Model = TypeVar("Model", bound=BaseModel)
View = Callable[..., ResponseReturnValue]

MAX_BODY_BYTES: Final = 64 * 1024
"""Largest body of a route that asks for no other bound."""

MAX_TEXT_BODY_BYTES: Final = 2 * 1024 * 1024
"""For routes that take a log: 256 KiB of text is up to 1.5 MiB as JSON, where a character may become `\\u001b`."""

LARGE_BODIES: Final = (b"POST /api/analyze-failure", b"PUT /api/training/local/")
"""How the requests begin that may have those, for whoever collects requests."""

MAX_FIELDS: Final = 500
"""Fields of one object in a body: the largest that is meant to come is a program's configuration."""

_LONGEST_NAME: Final = 64
"""Characters of a field's name that are repeated to its sender."""

_MOST_ERRORS: Final = 20
"""Fields that an answer complains about: it must not be much larger than what it answers."""

_LARGE_AT_ONCE: Final = 2
"""Large bodies that are read at a time in one route: as text and objects each takes several times its size."""

_STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""The strings of a JSON text; each attempt succeeds where it begins, so that searching takes linear time."""

_MOST_DIGITS: Final = 1_000
"""Digits of a whole number; the largest finite number in floating point has 309."""


def with_json_body(*, limit_bytes: int = MAX_BODY_BYTES) -> Callable[[View], View]:
    """Give a view its argument `body`, and `path` if it has one, of the models that the view's signature names.

    Args:
        limit_bytes: Largest body of this route. Beyond `MAX_BODY_BYTES` all must be text, a few are read at a time, and
            the server collects it for `LARGE_BODIES` alone.
    """

    def decorate(view: View) -> View:
        hints = get_type_hints(view)
        places = threading.BoundedSemaphore(_LARGE_AT_ONCE)

        @wraps(view)
        def view_with_body(**path: object) -> ResponseReturnValue:
            known = {"path": _validated(hints["path"], path)} if "path" in hints else {}
            is_large = (request.content_length or limit_bytes) > MAX_BODY_BYTES
            with places if is_large else nullcontext():
                body = read_json(hints["body"], limit_bytes=limit_bytes)
            return view(body=body, **known)

        # flask-openapi3 documents the annotated body and, told so, leaves the validation to us.
        view_with_body.__delay_validate_request__ = True  # type: ignore[attr-defined]
        return view_with_body

    return decorate


def read_json(model: type[Model], *, limit_bytes: int) -> Model:
    """Return the request's body as a model.

    Args:
        model: What it must be.
        limit_bytes: How long it may be; what is beyond `MAX_BODY_BYTES` must be text.

    Raises:
        UnsupportedMediaType: it is not declared as JSON, or compressed.
        PayloadTooLarge: it is larger than `limit_bytes`.
        InvalidRequest: it cannot be used; names each field that is to blame.
    """
    if not request.is_json:
        raise UnsupportedMediaType
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed.")
    # One byte more than is allowed: a body that comes in chunks, and does not say how long it is, would silently be
    # cut at the limit. The extra byte tells that there was more.
    request.max_content_length = limit_bytes + 1
    too_large = PayloadTooLarge(f"At most {limit_bytes:,} bytes are read here.")
    try:
        content = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise too_large from None
    except Exception:  # noqa: BLE001 - each server has its own exceptions for a body that breaks off
        raise _unusable("could not be read to its end") from None
    if len(content) > limit_bytes:
        raise too_large
    if len(content) > MAX_BODY_BYTES and len(_STRINGS.sub(b'""', content)) > MAX_BODY_BYTES:
        # A million empty lists take fifty times their bytes, and a second to read.
        raise _unusable(f"must be at most {MAX_BODY_BYTES // 1024} KiB without what its texts say")
    return _validated(model, _parse(content))


def _validated(model: type[Model], fields: Mapping[str, object]) -> Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        fields_to_blame = tuple(replace(each, field=_shown(each.field)) for each in field_errors(error)[:_MOST_ERRORS])
        raise InvalidRequest("The request has fields that cannot be used.", fields=fields_to_blame) from None


def _parse(content: bytes) -> dict[str, object]:
    try:
        # Some clients put a byte order mark first, which RFC 8259 §8.1 allows to overlook.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unusable("must be UTF-8") from None
    if not text.strip():
        raise _unusable("must not be empty")
    try:
        fields = json.loads(text, parse_constant=_refuse_constant, parse_int=_whole_number, object_pairs_hook=_object)
    except RecursionError:
        raise _unusable("is nested too deeply") from None
    except ValueError:
        raise _unusable("must be valid JSON") from None
    if not isinstance(fields, dict):
        raise _unusable("must be a JSON object")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise _unusable(f"must be valid JSON, which has no {name}")


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise _unusable(f"must hold no number of more than {_MOST_DIGITS} digits")
    return int(digits)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object; a name that comes twice is refused, because readers disagree about which one counts."""
    if len(pairs) > MAX_FIELDS:
        raise _unusable(f"must hold no object of more than {MAX_FIELDS} fields")
    fields: dict[str, object] = {}
    for name, value in ((_whole(name), value) for name, value in pairs):
        if name in fields:
            once = FieldError(_shown(name), "must be given only once")
            raise InvalidRequest("The request gives a field twice.", fields=(once,))
        fields[name] = value
    return fields


def _whole(name: str) -> str:
    """Return the name without halves of surrogate pairs, which no answer can repeat."""
    return name.encode("utf-8", "replace").decode()


def _shown(name: str) -> str:
    return name[:_LONGEST_NAME]


def _unusable(message: str) -> InvalidRequest:
    return InvalidRequest("The body of the request cannot be used.", fields=(FieldError("body", message),))
