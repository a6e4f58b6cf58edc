"""Problem answers (RFC 9457): the one shape of every failure, whatever raised it and on whichever route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NoReturn, TypedDict

import structlog
from flask import Flask, Response, g
from flask_openapi3.models import OPENAPI3_REF_PREFIX
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException

from app import errors
from app.errors import (
    Forbidden,
    Gone,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    StudioError,
    Unauthorized,
    UnsupportedMediaType,
)
from app.logs import Scrubber
from app.web.schemas import Problem, field_errors

_log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"

_BY_STATUS: Final[Mapping[int, type[StudioError]]] = {
    row.status: row
    for row in (
        InvalidRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        Gone,
        PayloadTooLarge,
        UnsupportedMediaType,
        RateLimited,
    )
}
"""The rows that what Flask and Werkzeug raise by themselves belongs to."""


def register(app: Flask, *, scrub: Scrubber) -> None:
    """Answer everything that is raised under `app` with a problem."""

    @app.errorhandler(StudioError)
    def on_studio_error(error: StudioError) -> Response:
        return answer(error, scrub=scrub)

    @app.errorhandler(HTTPException)
    def on_http_exception(error: HTTPException) -> Response:
        status = error.code or 500
        unforeseen = InternalError if status >= 500 else InvalidRequest
        response = answer(_BY_STATUS.get(status, unforeseen)(), scrub=scrub)
        if allow := dict(error.get_headers()).get("Allow"):
            response.headers["Allow"] = allow
        return response

    @app.errorhandler(Exception)
    def on_exception(error: Exception) -> Response:
        _log.error("unforeseen exception", exc_info=error)
        return answer(InternalError(), scrub=scrub)


def answer(
    error: StudioError, *, scrub: Scrubber, checks: dict[str, str] | None = None, job: str | None = None
) -> Response:
    """Return the answer that tells the caller about `error`.

    Args:
        error: What went wrong.
        scrub: Takes out of its words what must not be told.
        checks: What `/ready` found.
        job: Where the job can be asked about that goes on all the same.
    """
    told = {**errors.problem(error, request_id=g.request_id, scrub=scrub), "checks": checks, "job": job}
    response = _response(Problem.model_validate(told))
    if error.status == Unauthorized.status:
        response.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 §11.6.1 wants it with every 401
    return response


def replay(stored: Mapping[str, object], *, age_s: float) -> Response:
    """Return the answer that tells this caller about the problem of a job that failed `age_s` seconds ago."""
    problem = Problem.model_validate({**stored, "request_id": g.request_id})
    if problem.retry_after is not None:
        problem.retry_after = max(problem.retry_after - int(age_s), 1)
    if problem.retryable:
        # The same request will get this same answer for as long as the job is kept.
        problem.hint = f"{problem.hint} With another `Idempotency-Key`: this one has its answer."
    return _response(problem)


def _response(problem: Problem) -> Response:
    g.code = problem.code
    response = Response(problem.model_dump_json(), problem.status, mimetype=MEDIA_TYPE)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


# ---------------------------------------------------------------------- documentation


class _Documentation(TypedDict):
    validation_error_model: type[BaseModel]
    validation_error_status: str
    validation_error_callback: Callable[[ValidationError], NoReturn]


def _on_validation_error(error: ValidationError) -> NoReturn:
    raise InvalidRequest("The request has fields that cannot be used.", fields=field_errors(error))


DOCUMENTATION: Final[_Documentation] = {
    "validation_error_model": Problem,
    # flask-openapi3 adds an answer of its own shape under this status to each operation that
    # does not document it. Each of ours documents 500, so that none is added.
    "validation_error_status": "500",
    "validation_error_callback": _on_validation_error,
}
"""How flask-openapi3 should describe failures, and report those it finds itself (queries and paths)."""


Responses = dict[str | int | HTTPStatus, type[BaseModel] | dict[Any, Any] | None]


def responses(*rows: type[StudioError]) -> Responses:
    """Return the OpenAPI responses of these errors and of `InternalError`, one for each status."""
    statuses: dict[int, list[type[StudioError]]] = {}
    every: list[type[StudioError]] = [*rows, InternalError]
    for row in every:
        statuses.setdefault(row.status, []).append(row)
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: " + ", ".join(f"`{row.code()}`" for row in same),
            "content": {MEDIA_TYPE: {"schema": {"$ref": f"{OPENAPI3_REF_PREFIX}/{Problem.__name__}"}}},
        }
        for status, same in sorted(statuses.items())
    }
