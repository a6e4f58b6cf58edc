"""The error catalogue: every way a request can fail, one class per row.

The class *is* the row: status, whether asking again is sensible, the sentence a
person reads and the advice that goes with it. The wire code is the class name in
kebab-case. `docs/errors.md`, the OpenAPI description and the answers themselves are
all made from these classes, so adding an error is one class here and one line in the
tree below (a test compares the tree with the classes).

StudioError
├── InvalidRequest
├── Unauthorized
├── Forbidden
├── NotFound
├── MethodNotAllowed
├── RequestTimeout
├── IdempotencyConflict
├── JobNotFinished
├── NoResult
├── JobNotFailed
├── Gone
├── PayloadTooLarge
├── UnsupportedMediaType
├── RangeNotSatisfiable
├── IdempotencyMismatch
├── RateLimited
├── Overloaded
├── NotReady
├── JobStoreUnavailable
├── ResultLost
├── AnalysisFailed
├── InternalError
└── EngineError
    ├── PromptRefused
    ├── EngineNotConfigured
    ├── UpstreamBadResponse
    ├── UpstreamRejected
    ├── UpstreamError
    ├── UpstreamUnavailable
    ├── UpstreamTimeout
    └── Cancelled
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

MAX_DETAIL_LENGTH = 300

MAX_RETRY_AFTER_S = 86_400.0
"""A wait longer than a day is no longer advice; it is cut to this."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field of a request that could not be used, and why."""

    field: str
    message: str


class StudioError(Exception):
    """A failure that the API knows how to explain.

    Args:
        detail: What happened this time, in our own words; it is sent to the caller.
        retry_after_s: When asking again is sensible, in seconds, if that is known.
        log_text: What the upstream said, whole; it goes to the log and never to the caller.
        repeat: Whether the same work may be tried again within the same request. `None`
            takes the class's own answer; a row can be retryable for the caller (another
            request may do better) and still not be worth an immediate second attempt.
        fields: The fields of the request that are to blame.
    """

    status: ClassVar[int]
    retryable: ClassVar[bool]
    repeatable: ClassVar[bool] = False
    title: ClassVar[str]
    hint: ClassVar[str]
    when: ClassVar[str]

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after_s: float | None = None,
        log_text: str = "",
        repeat: bool | None = None,
        fields: tuple[FieldError, ...] = (),
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.retry_after_s = None if retry_after_s is None else min(max(retry_after_s, 0.0), MAX_RETRY_AFTER_S)
        self.log_text = log_text
        self.repeat = self.repeatable if repeat is None else repeat
        self.fields = fields
        self.attempts: int | None = None
        """How many attempts were made before this error was given up to; set by the retry loop."""

    @classmethod
    def code(cls) -> str:
        """Return the name of the row on the wire, e.g. `upstream-timeout`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()


class InvalidRequest(StudioError):
    status = 400
    retryable = False
    title = "The request is not valid."
    hint = "Correct the fields listed in `errors` and send it again."
    when = "A field is missing, unknown, of the wrong type or out of bounds, or the body is not JSON."


class Unauthorized(StudioError):
    status = 401
    retryable = False
    title = "An API key is needed."
    hint = "Send the key as `Authorization: Bearer …`."
    when = "API keys are configured and the request carries none, or a wrong one."


class Forbidden(StudioError):
    status = 403
    retryable = False
    title = "This is not allowed."
    hint = "Ask the operator of this service for access."
    when = "The key is known but may not do this, or the route is switched off."


class NotFound(StudioError):
    status = 404
    retryable = False
    title = "There is nothing here."
    hint = "Look at /docs/ for the routes of this service."
    when = "No such route, job or file."


class MethodNotAllowed(StudioError):
    status = 405
    retryable = False
    title = "This route does not take that method."
    hint = "The `Allow` header lists the methods it takes."
    when = "The route exists, but not with this HTTP method."


class RequestTimeout(StudioError):
    status = 408
    retryable = True
    title = "The request did not arrive in time."
    hint = "Send it again, headers and body in one go."
    when = "Sending a request took longer than `STUDIO_REQUEST_TIMEOUT_S`."


class IdempotencyConflict(StudioError):
    status = 409
    retryable = True
    title = "A request with this idempotency key is still running."
    hint = "Wait for the first request, or ask again shortly."
    when = "The same `Idempotency-Key` is in flight elsewhere and cannot be joined."


class JobNotFinished(StudioError):
    status = 409
    retryable = True
    title = "The job is not finished yet."
    hint = "Poll the job's status and ask again when it has succeeded."
    when = "The result of a job that is queued or running was asked for."


class NoResult(StudioError):
    status = 409
    retryable = False
    title = "The job has no result."
    hint = "Look at `error` in the job's status, and start a new job."
    when = "The result of a job that failed was asked for."


class JobNotFailed(StudioError):
    status = 409
    retryable = False
    title = "There is no failure to analyse."
    hint = "Ask for an analysis of what has `status` `failed`."
    when = "An analysis was asked for of a job or a training run that has not failed."


class Gone(StudioError):
    status = 410
    retryable = False
    title = "The job is not kept any more."
    hint = "Generate the piece again."
    when = "The job and its audio were deleted after their time, or the audio to make room for newer pieces."


class PayloadTooLarge(StudioError):
    status = 413
    retryable = False
    title = "The request body is too large."
    hint = "A request is a small JSON object; shorten the prompt."
    when = "The body is larger than 64 KiB, or than 2 MiB where an error is to be analysed."


class UnsupportedMediaType(StudioError):
    status = 415
    retryable = False
    title = "The request body must be JSON."
    hint = "Send `Content-Type: application/json`."
    when = "The content type is not JSON."


class RangeNotSatisfiable(StudioError):
    status = 416
    retryable = False
    title = "The file has no such part."
    hint = "`Content-Range` says how long the file is; ask for a range inside of it, or for the whole."
    when = "A `Range` begins behind the end of the audio."


class IdempotencyMismatch(StudioError):
    status = 422
    retryable = False
    title = "This idempotency key was used with another body."
    hint = "Use a new key for a new request."
    when = "The same `Idempotency-Key` arrives with a different body."


class RateLimited(StudioError):
    status = 429
    retryable = True
    title = "Too many requests."
    hint = "Wait for the time in `Retry-After`."
    when = "This service's own rate limit is used up, or too many wrong API keys came from one address."


class Overloaded(StudioError):
    status = 503
    retryable = True
    title = "All places are taken."
    hint = "Try again in a few seconds."
    when = (
        "As many generations as allowed (`STUDIO_MAX_ACTIVE`) are running, or jobs (`STUDIO_MAX_QUEUED`) waiting; or "
        "too many event streams (`STUDIO_MAX_STREAMS`), large answers at the gate, or requests that wait for a thread."
    )


class NotReady(StudioError):
    status = 503
    retryable = True
    title = "The service cannot do its job right now."
    hint = "Look at `checks` for what is missing."
    when = "A readiness check of `/ready` fails."


class JobStoreUnavailable(StudioError):
    status = 503
    retryable = True
    title = "Jobs cannot be kept right now."
    hint = "Try again in a moment, with the same `Idempotency-Key` if you sent one."
    when = (
        "The jobs' database or files cannot be reached, are locked, read-only or damaged, or their disk is full; or "
        "too many requests wait for the database."
    )


class ResultLost(StudioError):
    status = 500
    retryable = False
    title = "The audio of this job is lost."
    hint = "Generate the piece again; the `seed` in the job's `request` asks for the same one."
    when = "The file of a finished job is missing or damaged in the store."


class AnalysisFailed(StudioError):
    status = 500
    retryable = False
    title = "The failure could not be analysed."
    hint = "Read the error itself; tell the operator of this service the `request_id`."
    when = "The analyser itself fails. `details` says with what; the log has the traceback."


class InternalError(StudioError):
    status = 500
    retryable = False
    title = "Something went wrong on our side."
    hint = "Report the `request_id`; the log has the rest."
    when = "Anything not foreseen."


class EngineError(StudioError):
    """What an engine may raise: the music could not be made.

    Attributes:
        raised_by_model: Whether the upstream is up, and it was its own code for this piece that failed.
    """

    raised_by_model: bool = False


class PromptRefused(EngineError):
    status = 400
    retryable = False
    title = "The music engine does not accept this input."
    hint = "Change the prompt and try again."
    when = "The engine says that this input cannot be used."


class EngineNotConfigured(EngineError):
    status = 503
    retryable = False
    title = "The music engine is not set up."
    hint = "Set `HF_API_URL`, or `STUDIO_ENGINE=composer` for the built-in engine."
    when = "`STUDIO_ENGINE=huggingface` and `HF_API_URL` is not set."


class UpstreamBadResponse(EngineError):
    status = 502
    retryable = True
    title = "The music engine's answer could not be used."
    hint = "Try again; if it stays, the upstream answers in a way this service does not understand."
    when = "Not JSON, no audio in it, bad base64, not audio, truncated, or over the size cap."


class UpstreamRejected(EngineError):
    status = 502
    retryable = False
    title = "The music engine rejects this service's requests."
    hint = "The operator must check the `HF_…` settings; `studio probe` shows what is wrong."
    when = "Our credentials or configuration are wrong, or the model or function is missing at the upstream."


class UpstreamError(EngineError):
    status = 502
    retryable = True
    repeatable = True
    title = "The music engine had a problem."
    hint = "Try again in a moment."
    when = "The upstream failed: its 500, its exception."


class UpstreamUnavailable(EngineError):
    status = 503
    retryable = True
    repeatable = True
    title = "The music engine is not available right now."
    hint = "Try again later; `Retry-After` says when, if it is known."
    when = "Refused, no such host, sleeping, paused, loading, quota used up, or known to be down since a moment ago."


class UpstreamTimeout(EngineError):
    status = 504
    retryable = True
    repeatable = True
    title = "The music engine did not finish in time."
    hint = "Ask for a shorter piece, or have it made by a job (`POST /api/jobs`), which may take longer."
    when = "No complete answer within the attempt's limit, drip-fed answers included, or the deadline is spent."


class Cancelled(EngineError):
    status = 409
    retryable = False
    title = "The work was cancelled."
    hint = "Nothing is wrong; ask again if the piece is wanted after all."
    when = "The job was cancelled while this request waited for it."


def problem(error: StudioError, *, request_id: str, scrub: Callable[[str], str]) -> dict[str, object]:
    """Return what people are told about `error`: the members of a problem (RFC 9457), as JSON can hold them.

    Args:
        error: What went wrong.
        request_id: Of the request that it went wrong for.
        scrub: Takes out of its words what must not be told.
    """
    detail = " ".join(scrub(error.detail or error.title).split())
    wait_s = error.retry_after_s if error.retryable else None
    known = {
        "retry_after": None if wait_s is None else max(math.ceil(wait_s), 1),
        "attempts": error.attempts,
        "details": error.detail if isinstance(error, AnalysisFailed) else None,
    }
    return {
        "type": f"/docs/errors#{error.code()}",
        "title": error.title,
        "status": error.status,
        "detail": detail if len(detail) <= MAX_DETAIL_LENGTH else detail[: MAX_DETAIL_LENGTH - 1] + "…",
        "code": error.code(),
        "error": error.title,
        "retryable": error.retryable,
        "hint": error.hint,
        "request_id": request_id,
        "errors": [{"field": each.field, "message": each.message} for each in error.fields],
        **{name: value for name, value in known.items() if value is not None},
    }


def catalogue() -> tuple[type[StudioError], ...]:
    """Return every row of the catalogue, in the order of this module."""

    def rows(parent: type[StudioError]) -> Iterator[type[StudioError]]:
        for child in parent.__subclasses__():
            if "status" in vars(child) and child.__module__ == __name__:
                yield child
            yield from rows(child)

    return tuple(rows(StudioError))


def markdown_table() -> str:
    """Return the catalogue as the Markdown of `docs/errors.md`."""
    lines = [
        "| code | status | retryable | when | what the person reads | hint |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f'| <a id="{row.code()}"></a>`{row.code()}` | {row.status} | {"yes" if row.retryable else "no"} '
        f"| {row.when} | {row.title} | {row.hint} |"
        for row in catalogue()
    ]
    return "\n".join(lines) + "\n"
