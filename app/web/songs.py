"""Songs: pieces made of sections, joined into one track."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

from flask import Response, g
from flask_openapi3 import APIBlueprint, Tag

from app.errors import FieldError, InvalidRequest, JobNotFinished, NotFound
from app.jobs.job import Job
from app.jobs.song import SongRequest
from app.studio import Studio
from app.web import idempotency, limits, problems
from app.web.body import with_json_body
from app.web.briefs import song_of
from app.web.job_views import accepted, poll_after_s
from app.web.jobs import ACCEPTED, JOB_ERRORS, SUBMIT_ERRORS, JobPath, OpenJobs, find
from app.web.schemas import RemakeBody, SongBody

_REMAKE: Final = {
    "operationId": "remake_song",
    "parameters": {"id": "$response.body#/id"},
    "description": "Makes some of its sections again, once it is over.",
}
_SONG_ACCEPTED: Final = {**ACCEPTED, "links": {**ACCEPTED["links"], "remake": _REMAKE}}


def blueprint(jobs: OpenJobs, studio: Studio) -> APIBlueprint:
    """Return the routes.

    Args:
        jobs: Opens what keeps the jobs.
        studio: Knows what can be asked for.
    """
    api = APIBlueprint("songs", __name__, abp_tags=[Tag(name="Songs", description="Sections, joined into one track.")])

    @api.post(
        "/api/songs",
        operation_id="submit_song",
        summary="Have a song made",
        responses={"202": _SONG_ACCEPTED, **problems.responses(*SUBMIT_ERRORS)},
        openapi_extensions={"parameters": [idempotency.PARAMETER]},
    )
    @with_json_body()
    def submit_song(body: SongBody) -> Response:
        """Answers at once with a job whose `sections` are jobs of their own, and whose audio is all of them joined.

        A section that fails loses none of the others: the song then fails with what is missing, and `links.remake`
        is where that can be asked for again.
        """
        request = song_of(body)
        studio.check(request.sections[0].brief)
        key = idempotency.key()
        submission = jobs().submit_song(
            request,
            owner=g.caller,
            request_id=g.request_id,
            idempotency_key=key,
            digest=idempotency.digest(body, kind="song") if key else "",
        )
        limits.charge(submission.pieces)
        return idempotency.mark(accepted(jobs(), submission.job), replayed=submission.replayed)

    @api.post(
        "/api/songs/<id>/remake",
        operation_id="remake_song",
        summary="Make some sections of a song again, or another format of it",
        responses={"202": _SONG_ACCEPTED, **problems.responses(*SUBMIT_ERRORS, *JOB_ERRORS, JobNotFinished)},
        openapi_extensions={"parameters": [idempotency.PARAMETER]},
    )
    @with_json_body()
    def remake_song(path: JobPath, body: RemakeBody) -> Response:
        """Answers at once with another job for the song, in which the other sections are what they were.

        Those that failed are made again, and those that the body lists, with another seed. A song that has them all
        is joined again when the body names another format.
        """
        song, request = _find(jobs, path.id)
        if not song.is_final:
            raise JobNotFinished(song.message, retry_after_s=poll_after_s(song))
        _check_numbers(body.sections, request)
        wanted = body.format or request.format
        if song.result is not None and not body.sections and wanted == request.format:
            message = "must name a section, or `format` another format: none is missing"
            raise InvalidRequest("There is nothing to be made.", fields=(FieldError("sections", message),))
        key = idempotency.key()
        submission = jobs().again(
            song,
            owner=g.caller,
            request_id=g.request_id,
            format=wanted,
            seeds={number: secrets.randbelow(2**32) for number in body.sections},
            idempotency_key=key,
            digest=idempotency.digest(body, kind=f"song {song.id}") if key else "",
        )
        limits.charge(submission.pieces)
        return idempotency.mark(accepted(jobs(), submission.job), replayed=submission.replayed)

    return api


def _find(jobs: OpenJobs, id: str) -> tuple[Job, SongRequest]:
    song = find(jobs, id)
    if not isinstance(song.request, SongRequest):
        raise NotFound("This job is not a song.")
    return song, song.request


def _check_numbers(numbers: Iterable[int], request: SongRequest) -> None:
    if any(number > len(request.sections) for number in numbers):
        message = f"must be at most {len(request.sections)}: the song has no more"
        raise InvalidRequest("The song has no such section.", fields=(FieldError("sections", message),))
