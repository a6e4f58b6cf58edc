"""Request bodies: from raw bytes to a model, or to an `InvalidRequest` that names each field.

flask-openapi3 would parse them too, but takes malformed JSON for an empty body, accepts
`NaN` and repeated names, and falls over deep nesting.
"""

from __future__ import annotations

import json
from collections.abc import Callable
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

_LONGEST_NAME: Final = 64
"""Characters of an unknown field's name that are repeated to its sender."""


def with_json_body(view: View) -> View:
    """Give the view its argument `body`, of the model that the view's signature names."""
    model = get_type_hints(view)["body"]

    @wraps(view)
    def view_with_body(**path: object) -> ResponseReturnValue:
        return view(body=read_json(model), **path)

    # flask-openapi3 documents the annotated body and, told so, leaves the validation to us.
    view_with_body.__delay_validate_request__ = True  # type: ignore[attr-defined]
    return view_with_body


def read_json(model: type[Model]) -> Model:
    """Return the request's body as a model.

    Raises:
        UnsupportedMediaType: it is not declared as JSON, or compressed.
        PayloadTooLarge: it is larger than a request may be.
        InvalidRequest: it cannot be used; names each field that is to blame.
    """
    if not request.is_json:
        raise UnsupportedMediaType
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed.")
    try:
        content = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise PayloadTooLarge from None
    except Exception:  # noqa: BLE001 - each server has its own exceptions for a body that breaks off
        raise _unusable("could not be read to its end") from None
    if len(content) > MAX_BODY_BYTES:
        raise PayloadTooLarge
    fields = _parse(content)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InvalidRequest("The request has fields that cannot be used.", fields=field_errors(error)) from None


def _parse(content: bytes) -> dict[str, object]:
    try:
        # Some clients put a byte order mark first, which RFC 8259 §8.1 allows to overlook.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unusable("must be UTF-8") from None
    if not text.strip():
        raise _unusable("must not be empty")
    try:
        fields = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
    except RecursionError:
        raise _unusable("is nested too deeply") from None
    except ValueError:
        raise _unusable("must be valid JSON") from None
    if not isinstance(fields, dict):
        raise _unusable("must be a JSON object")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise _unusable(f"must be valid JSON, which has no {name}")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object; a name that comes twice is refused, because readers disagree about which one counts."""
    fields = {_shown(name): value for name, value in pairs}
    if len(fields) < len(pairs):
        names = [_shown(name) for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest("The request gives a field twice.", fields=(FieldError(twice, "must be given only once"),))
    return fields


def _shown(name: str) -> str:
    return name[:_LONGEST_NAME].encode("utf-8", "replace").decode()


def _unusable(message: str) -> InvalidRequest:
    return InvalidRequest("The body of the request cannot be used.", fields=(FieldError("body", message),))
