"""Jobs: pieces that nobody waits for with an open connection."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from flask import Response, g, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from werkzeug.http import parse_etags

from app.audio import MEDIA_TYPES
from app.engines.engine import DOCUMENT_MEDIA_TYPES, Format
from app.errors import (
    Cancelled,
    EngineNotConfigured,
    Forbidden,
    Gone,
    IdempotencyConflict,
    IdempotencyMismatch,
    InvalidRequest,
    JobNotFinished,
    JobStoreUnavailable,
    NoResult,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    RangeNotSatisfiable,
    ResultLost,
    Unauthorized,
    UnsupportedMediaType,
)
from app.jobs import Jobs, Submission
from app.jobs.job import Job, JobRequest, Result, Status
from app.logs import Scrubber
from app.studio import Studio
from app.web import audio, events, idempotency, problems
from app.web.body import with_json_body
from app.web.briefs import brief_of
from app.web.callers import NOBODY, who
from app.web.job_views import accepted, answer, described, line, poll_after_s
from app.web.schemas import GenerateRequest, JobList, Label

_ID: Final = re.compile(r"[0-9a-f]{32}")
_CHANGE_NUMBER: Final = re.compile(r"\d{1,15}", re.ASCII)

_DEFAULT_PAGE: Final = 20
_LARGEST_PAGE: Final = 100


class JobPath(BaseModel):
    """The id of a job; anything else is the id of none."""

    id: Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{_ID.pattern}$"})] = Field(
        description="The job's `id`."
    )


class JobsQuery(BaseModel):
    """Which of the caller's jobs."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    username: Label | None = Field(None, description="Only those with this `username`.")
    status: Status | None = Field(None, description="Only those in this state.")
    limit: int = Field(_DEFAULT_PAGE, ge=1, le=_LARGEST_PAGE, description="Jobs on a page, at most.")
    cursor: str | None = Field(None, max_length=200, description="Where the page begins: from `next` of the last one.")


class EventsQuery(BaseModel):
    """For readers that cannot send the header."""

    last_event_id: str | None = Field(None, description="The same as the header `Last-Event-ID`.")


class EventsHeader(BaseModel):
    """Sent by browsers when they come back."""

    last_event_id: str | None = Field(
        None, alias="Last-Event-ID", description="`id` of the last event that was read; those after it follow."
    )


class AudioHeader(BaseModel):
    """For players, which load a file in parts."""

    range: str | None = Field(None, alias="Range", description="One range of bytes, e.g. `bytes=0-1023`.")
    if_range: str | None = Field(None, alias="If-Range", description="An `ETag`: the part if it fits, else the whole.")
    if_none_match: str | None = Field(None, alias="If-None-Match", description="An `ETag` that need not be sent again.")


def _header(description: str, **schema: object) -> dict[str, object]:
    return {"description": description, "schema": {"type": "string", **schema}}


def _link(operation: str, description: str) -> dict[str, object]:
    return {"operationId": operation, "parameters": {"id": "$response.body#/id"}, "description": description}


_JOB_LINKS: Final = {
    "status": _link("job_status", "How the job stands."),
    "events": _link("job_events", "Its changes as they happen."),
    "audio": _link("job_audio", "What it made, once it has succeeded."),
    "delete": _link("delete_job", "Cancels it; deletes it with its audio when it is over."),
}
_JOB_CONTENT: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/JobResponse"}}}
_RETRY_AFTER: Final = {"Retry-After": _header("Seconds until asking again is sensible, while the job is not over.")}
ACCEPTED: Final[dict[str, Any]] = {
    "description": "The job was taken on; it survives restarts of this service.",
    "content": _JOB_CONTENT,
    "headers": {"Location": _header("Where to ask how it stands.")} | _RETRY_AFTER | idempotency.REPLAYED_HEADER,
    "links": _JOB_LINKS,
}
SUBMIT_ERRORS: Final = (
    InvalidRequest,
    PayloadTooLarge,
    UnsupportedMediaType,
    Unauthorized,
    IdempotencyConflict,
    IdempotencyMismatch,
    Overloaded,
    EngineNotConfigured,
    JobStoreUnavailable,
)
JOB_ERRORS: Final = (Unauthorized, NotFound, Gone, JobStoreUnavailable)

_STATUS_RESPONSES: Final[problems.Responses] = {
    "200": {
        "description": "The job.",
        "content": _JOB_CONTENT,
        "headers": _RETRY_AFTER,
        "links": {name: link for name, link in _JOB_LINKS.items() if name != "status"},
    },
    **problems.responses(*JOB_ERRORS),
}

_AUDIO_HEADERS: Final = {
    **audio.HEADERS,
    "ETag": _header("The SHA-256 of the whole file."),
    "Accept-Ranges": _header("`bytes`."),
}
_AUDIO_CONTENT: Final = {
    each: {"schema": {"type": "string", "format": "binary"}}
    for each in (*MEDIA_TYPES.values(), *DOCUMENT_MEDIA_TYPES.values())
}
_AUDIO_RESPONSES: Final[problems.Responses] = {
    "200": {"description": "The whole file.", "content": _AUDIO_CONTENT, "headers": _AUDIO_HEADERS},
    "206": {
        "description": "The part that `Range` asks for.",
        "content": _AUDIO_CONTENT,
        "headers": _AUDIO_HEADERS | {"Content-Range": _header("Which part it is, and of how much.")},
    },
    "304": {"description": "It is still what the `ETag` in `If-None-Match` names."},
    "307": {
        "description": "The file is to be loaded from a cloud's store (`STUDIO_STORE_REDIRECTS`).",
        "headers": {"Location": _header("Where it can be loaded without a key, for a few minutes.")},
    },
    **problems.responses(*JOB_ERRORS, JobNotFinished, NoResult, Cancelled, RangeNotSatisfiable, ResultLost),
}

# One of the stream's events: until version 3.2, OpenAPI has no other place to describe it.
_EVENT: Final = {
    "type": "object",
    "properties": {
        "event": {"enum": ["status", "end"], "type": "string"},
        "id": {"type": "string", "pattern": "^[0-9]+$", "description": "Number of the change."},
        "data": {"type": "string", "description": "JSON: the job (`JobResponse`); at the end `status` alone."},
        "retry": {"type": "integer", "description": "Milliseconds to wait before coming back."},
    },
    "required": ["event", "data"],
}
_EVENTS_RESPONSES: Final[problems.Responses] = {
    "200": {
        "description": "One event `status` for each change, with the job as it was then in `data` and the number of "
        "the change as `id`; comments in between while nothing happens; after the last change an event `end`. A "
        "stream that ends without one is to be continued with `Last-Event-ID`.",
        "content": {events.MEDIA_TYPE: {"schema": _EVENT}},
    },
    "204": {"description": "The job is over and you have read all of its events: do not come back."},
    **problems.responses(InvalidRequest, *JOB_ERRORS, Overloaded),
}
_DELETE_RESPONSES: Final[problems.Responses] = {
    "202": {
        "description": "The job is being cancelled, at the engine's upstream too.",
        "content": _JOB_CONTENT,
        "headers": _RETRY_AFTER,
        "links": {"status": _JOB_LINKS["status"]},
    },
    "204": {"description": "It was cancelled before it began, or it was over and is deleted with its audio."},
    **problems.responses(*JOB_ERRORS),
}

OpenJobs = Callable[[], Jobs]
"""Opens what keeps the jobs, or returns what is open: not before the first request that is about a job."""


def blueprint(jobs: OpenJobs, studio: Studio, streams: events.Streams) -> APIBlueprint:
    """Return the routes.

    Args:
        jobs: Opens what keeps the jobs.
        studio: Knows what can be asked for.
        streams: The places for readers of events.
    """
    api = APIBlueprint("jobs", __name__, abp_tags=[Tag(name="Jobs", description="Pieces that nobody waits for.")])
    _add_routes_of_all(api, jobs, studio)
    _add_routes_of_one(api, jobs, streams)
    return api


def _add_routes_of_all(api: APIBlueprint, jobs: OpenJobs, studio: Studio) -> None:
    @api.post(
        "/api/jobs",
        operation_id="submit_job",
        summary="Have a clip generated",
        responses={"202": ACCEPTED, **problems.responses(*SUBMIT_ERRORS)},
        openapi_extensions={"parameters": [idempotency.PARAMETER]},
    )
    @with_json_body()
    def submit_job(body: GenerateRequest) -> Response:
        """Takes the same body as `POST /studio-generate` and answers at once, with a job.

        Ask `GET /api/status/{id}` how it stands, or read `GET /api/jobs/{id}/events`.
        """
        submission = submit(jobs, studio, body, body.format or "wav", key=idempotency.key())
        return idempotency.mark(accepted(jobs(), submission.job), replayed=submission.replayed)

    @api.get(
        "/api/jobs",
        operation_id="list_jobs",
        summary="Your jobs",
        responses={
            "200": JobList,
            **problems.responses(InvalidRequest, Unauthorized, Forbidden, JobStoreUnavailable),
        },
    )
    def list_jobs(query: JobsQuery) -> Response:
        """Lists the jobs that were submitted with your API key, newest first.

        A service without API keys has no such list: an id is all it takes to read a job.
        """
        if g.caller == NOBODY:
            raise Forbidden("Jobs are listed by API key, and this service has none configured.")
        ours = jobs()
        page, cursor = ours.page(
            g.caller, username=query.username, status=query.status, limit=query.limit, cursor=query.cursor
        )
        listed = JobList(jobs=[described(ours, job) for job in page], next=_page_after(query, cursor))
        response = Response(listed.model_dump_json(), mimetype="application/json")
        if listed.next:
            response.headers["Link"] = f'<{listed.next}>; rel="next"'
        return response


def _add_routes_of_one(api: APIBlueprint, jobs: OpenJobs, streams: events.Streams) -> None:
    @api.get(
        "/api/status/<id>",
        operation_id="job_status",
        summary="How does a job stand?",
        responses=_STATUS_RESPONSES,
    )
    def job_status(path: JobPath) -> Response:
        """Answers with the job, also long after it is over; `Retry-After` and `poll_after_ms` say when to ask again.

        A question that fails says nothing about the job: it goes on.
        """
        return answer(jobs(), find(jobs, path.id))

    @api.get(
        "/api/jobs/<id>/events",
        operation_id="job_events",
        summary="The changes of a job, as they happen",
        responses=_EVENTS_RESPONSES,
    )
    def job_events(path: JobPath, query: EventsQuery, header: EventsHeader) -> Response:
        """Streams Server-Sent Events (`text/event-stream`), those that have already been as well."""
        job = find(jobs, path.id)
        after = min(_change_number(header.last_event_id or query.last_event_id or ""), job.change)
        if job.is_final and after == job.change:
            return Response(status=204)
        if request.method == "HEAD":
            return Response(content_type=events.MEDIA_TYPE)
        caller = who()
        streams.enter(caller)
        response = Response(
            streams.events(jobs(), job, after=after, describe=partial(line, jobs())), content_type=events.MEDIA_TYPE
        )
        response.call_on_close(partial(streams.leave, caller))
        response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back until it has a few KiB
        return response

    @api.get("/api/jobs/<id>/audio", operation_id="job_audio", summary="The audio of a job", responses=_AUDIO_RESPONSES)
    def job_audio(path: JobPath, header: AudioHeader) -> Response:
        """Answers with the audio of a job that has succeeded, whole or in part; `HEAD` tells its size."""
        job = find(jobs, path.id)
        return _audio(jobs(), job, result_of(job), header)

    @api.delete(
        "/api/jobs/<id>", operation_id="delete_job", summary="Cancel or delete a job", responses=_DELETE_RESPONSES
    )
    def delete_job(path: JobPath) -> Response:
        """Cancels a job that waits or runs; deletes one that is over, with its audio."""
        job = jobs().cancel_or_delete(find(jobs, path.id).id)
        return Response(status=204) if job is None or job.is_final else answer(jobs(), job, status=202)


# ---------------------------------------------------------------------- requests


def submit(jobs: OpenJobs, studio: Studio, body: GenerateRequest, format: Format, *, key: str | None) -> Submission:
    """Take the request on as a job of the caller, or find the job that the idempotency key already has.

    Raises:
        StudioError: one of `SUBMIT_ERRORS`.
    """
    brief = brief_of(body, format)
    studio.check(brief)
    return jobs().submit(
        JobRequest(brief, username=body.username or None),
        owner=g.caller,
        request_id=g.request_id,
        idempotency_key=key,
        digest=idempotency.digest(body, format=format) if key else "",
    )


def find(jobs: OpenJobs, id: str) -> Job:
    """Return the caller's job; somebody else's is as if it were not there.

    Raises:
        StudioError: one of `JOB_ERRORS`.
    """
    if not _ID.fullmatch(id):
        raise NotFound("There is no such job.")
    job = jobs().get(id)
    if job.owner != g.caller:
        raise NotFound("There is no such job.")
    return job


def _change_number(last_event_id: str) -> int:
    # Whatever a reader sends that is no number of ours, it has read nothing.
    return int(last_event_id) if _CHANGE_NUMBER.fullmatch(last_event_id) else 0


def _page_after(query: JobsQuery, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    asked = query.model_dump(exclude_none=True) | {"cursor": cursor}
    return f"/api/jobs?{urlencode(asked)}"


# ---------------------------------------------------------------------- audio


def result_of(job: Job) -> Result:
    """Return what the job made.

    Raises:
        StudioError: it has made nothing, has not finished, or its file is deleted.
    """
    if job.result:
        return job.result
    if job.status == "succeeded":
        raise Gone(job.message)
    if job.status == "cancelled":
        raise Cancelled
    if job.is_final:
        raise NoResult(job.message)
    raise JobNotFinished(job.message, retry_after_s=poll_after_s(job))


def _audio(jobs: Jobs, job: Job, result: Result, header: AudioHeader) -> Response:
    etag = f'"{result.sha256}"'
    # An address in the store is signed for GET alone. It ends soon, so that nothing may be kept of this answer.
    if request.method == "GET" and (url := jobs.file_url(result)):
        return Response(status=307, headers={"Location": url})
    if parse_etags(header.if_none_match).contains_weak(result.sha256):
        response = Response(status=304)
    else:
        try:
            part = audio.asked_range(
                header.range or "", if_range=header.if_range, etag=etag, size_bytes=result.size_bytes
            )
        except RangeNotSatisfiable as error:
            refusal = problems.answer(error, scrub=Scrubber())
            refusal.headers["Content-Range"] = f"bytes */{result.size_bytes}"
            return refusal
        response = _file(jobs, job, result, part)
    response.headers["ETag"] = etag
    # To be asked for each time, which costs a 304: a piece that its owner deletes is gone.
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _file(jobs: Jobs, job: Job, result: Result, part: tuple[int, int] | None) -> Response:
    is_head = request.method == "HEAD"
    part = None if is_head else part  # RFC 9110 §14.2: a range is a matter of GET
    start, end = part or (0, result.size_bytes)
    response = audio.of_job(job, result, () if is_head else jobs.read(result, start, end if part else None))
    response.content_length = end - start
    response.headers["Accept-Ranges"] = "bytes"
    if part:
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{result.size_bytes}"
    return response
