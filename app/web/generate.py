"""POST /studio-generate: one clip, for a caller who waits for it, or would rather not."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

from flask import Response, g, request
from flask_openapi3 import APIBlueprint, OpenAPI, Tag

from app.audio import MEDIA_TYPES
from app.engines.engine import DOCUMENT_MEDIA_TYPES, Format
from app.errors import (
    Cancelled,
    EngineError,
    Gone,
    JobStoreUnavailable,
    NotFound,
    ResultLost,
    StudioError,
    UpstreamTimeout,
    catalogue,
)
from app.jobs import Jobs
from app.jobs.job import Job
from app.logs import Scrubber
from app.retry import Deadline
from app.studio import Studio
from app.web import audio, idempotency, job_views, problems
from app.web import jobs as web_jobs
from app.web.body import with_json_body
from app.web.briefs import brief_of
from app.web.schemas import GenerateRequest

_ACCEPTED: Final[Mapping[str, Format]] = {
    **{media_type: name for name, media_type in MEDIA_TYPES.items()},
    **{media_type: name for name, media_type in DOCUMENT_MEDIA_TYPES.items()},
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/x-flac": "flac",
    "application/ogg": "ogg",
    "audio/vorbis": "ogg",
    "audio/mp3": "mp3",
    "audio/x-mp3": "mp3",
    "audio/mid": "mid",
    "audio/x-midi": "mid",
}
"""The formats by what an `Accept` header may call them; the first one wins a tie."""

_LOOK_AGAIN_S: Final = 0.5

_PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`respond-async`: answer with a job instead of waiting; `respond-async, wait=20`: wait that many "
    "seconds first (RFC 7240).",
    "schema": {"type": "string"},
}
_APPLIED: Final = {
    "Preference-Applied": {
        "description": "Which of the preferences in `Prefer` were obeyed.",
        "schema": {"type": "string"},
    }
}
_RESPONSES: Final[problems.Responses] = {
    "200": {
        "description": "The audio itself, proven to play. On an engine that knows the notes of its pieces also a MIDI "
        "file of them, or a ZIP of WAVs, one for each player.",
        "content": {
            each: {"schema": {"type": "string", "format": "binary"}}
            for each in (*MEDIA_TYPES.values(), *DOCUMENT_MEDIA_TYPES.values())
        },
        "headers": audio.HEADERS | idempotency.REPLAYED_HEADER,
    },
    "202": {**web_jobs.ACCEPTED, "headers": web_jobs.ACCEPTED["headers"] | _APPLIED},
    **problems.responses(
        *web_jobs.SUBMIT_ERRORS,
        Gone,
        ResultLost,
        *(row for row in catalogue() if issubclass(row, EngineError)),
    ),
}


@dataclass(frozen=True, slots=True)
class Preference:
    """How the caller would like to be answered.

    Attributes:
        respond_async: With a job, when the piece is not there soon.
        wait_s: How soon that is, in seconds.
    """

    respond_async: bool
    wait_s: int

    @classmethod
    def read(cls, header: str) -> Preference:
        """Return what the header `Prefer` says; what is not understood is not preferred (RFC 7240 §2)."""
        named: dict[str, str] = {}
        for each in header.split(","):
            name, _, value = each.partition(";")[0].partition("=")
            named.setdefault(name.strip().lower(), value.strip().strip('"'))
        wait = named.get("wait", "")
        return cls("respond-async" in named, int(wait) if re.fullmatch("[0-9]{1,6}", wait) else 0)

    @property
    def applied(self) -> str:
        """What `Preference-Applied` says with a job."""
        return f"respond-async, wait={self.wait_s}" if self.wait_s else "respond-async"


def blueprint(studio: Studio, jobs: web_jobs.OpenJobs) -> APIBlueprint:
    """Return the route.

    Args:
        studio: Makes the pieces of callers who wait.
        jobs: Opens what keeps the jobs, for all others.
    """
    api = APIBlueprint("generate", __name__, abp_tags=[Tag(name="Music", description="Text in, music out.")])

    @api.post(
        "/studio-generate",
        summary="Generate one clip",
        responses=_RESPONSES,
        openapi_extensions={"parameters": [idempotency.PARAMETER, _PREFER]},
    )
    @with_json_body()
    def generate(body: GenerateRequest) -> Response:
        """Waits for the piece and answers with the audio itself, or with the document that `format` names.

        It takes as long as the engine takes, all attempts included, up to the deadline of the service.
        With an `Idempotency-Key` the piece is made by a job: when the deadline passes, the answer is
        `upstream-timeout` with the address of the `job`, which goes on, and so does the same request sent again.
        """
        key, preference = idempotency.key(), Preference.read(request.headers.get("Prefer", ""))
        wanted = body.format or _accepted_format(studio.formats)
        if key is None and not preference.respond_async:
            piece = studio.generate(brief_of(body, wanted), deadline=g.deadline)
            return audio.of_piece(piece, username=body.username, prompt=body.prompt)
        deadline = g.deadline.within(preference.wait_s) if preference.respond_async else g.deadline
        # Who waits takes a place, so that there are always threads left for those who do not.
        with nullcontext() if deadline.expired else studio.place():
            submission = web_jobs.submit(jobs, studio, body, wanted, key=key)
            job = _wait(jobs(), submission.job, deadline)
        if preference.respond_async and (preference.wait_s == 0 or not job.is_final):
            response = job_views.accepted(jobs(), job)
            response.headers["Preference-Applied"] = preference.applied
        else:
            response = _outcome(jobs(), job) if job.is_final else _still_running(job)
        return idempotency.mark(response, replayed=submission.replayed)

    return api


def describe(app: OpenAPI, formats: Collection[Format]) -> None:
    """Have the description offer no other formats than these, which the service can give."""
    asked = app.api_doc["components"]["schemas"][GenerateRequest.__name__]["properties"]["format"]
    asked["anyOf"][0]["enum"] = list(formats)


def _accepted_format(formats: Collection[Format]) -> Format:
    best = request.accept_mimetypes.best_match([name for name, each in _ACCEPTED.items() if each in formats])
    return _ACCEPTED[best] if best else "wav"


def _wait(jobs: Jobs, job: Job, deadline: Deadline) -> Job:
    """Return the job once it is over, or as it was last seen when the deadline passes."""
    while not (job.is_final or deadline.expired):
        try:
            job = jobs.wait(job.id, deadline)
        except (NotFound, Gone):
            raise Cancelled("The job was deleted.") from None
        except JobStoreUnavailable:
            # The job was taken on: that it cannot be looked at for a while is no reason to send its caller away.
            time.sleep(min(_LOOK_AGAIN_S, deadline.remaining_s()))
    return job


def _outcome(jobs: Jobs, job: Job) -> Response:
    if job.error:
        return problems.replay(job.error, age_s=time.time() - (job.finished_at_s or time.time()))
    try:
        result = web_jobs.result_of(job)
        response = audio.of_job(job, result, jobs.read(result))
    except StudioError as error:
        return problems.answer(error, scrub=Scrubber())
    response.content_length = result.size_bytes
    return response


def _still_running(job: Job) -> Response:
    error = UpstreamTimeout("It goes on as a job; ask for that, or send the same request again.", retry_after_s=1.0)
    return problems.answer(error, scrub=Scrubber(), job=job_views.status_url(job))
