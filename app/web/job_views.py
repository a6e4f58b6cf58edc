"""How jobs are told of: pieces, and songs with their sections."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from flask import Response

from app.jobs import Jobs
from app.jobs.job import Job, JobRequest
from app.jobs.song import SongRequest
from app.web.schemas import (
    Asked,
    AskedSection,
    AskedSong,
    JobLinks,
    JobResponse,
    Problem,
    SectionResponse,
)

_SHORTEST_POLL_S: Final = 1.0
_LONGEST_POLL_S: Final = 5.0
_DELETED: Final = "This section was deleted."
_POLL_SHARE: Final = 0.1
"""Of a job's age: who has waited long can wait a little longer for the news that it is over."""


def status_url(job: Job) -> str:
    """Return where the job can be asked about, relative to this service."""
    return f"/api/status/{job.id}"


def poll_after_s(job: Job) -> float:
    """Return after how many seconds it is sensible to ask again about a job that is not over."""
    age_s = time.time() - job.created_at_s
    return min(max(age_s * _POLL_SHARE, _SHORTEST_POLL_S), _LONGEST_POLL_S)


def described(jobs: Jobs, job: Job) -> JobResponse:
    """Return the job as callers see it.

    Raises:
        JobStoreUnavailable: it is a song, and its sections cannot be looked at right now.
    """
    sections = _sections(job.request, jobs.sections(job.id)) if isinstance(job.request, SongRequest) else None
    url = f"/api/jobs/{job.id}"
    return JobResponse(
        id=job.id,
        status=job.status,
        message=job.message,
        progress=_progress(job, sections),
        queue_position=job.queue_position,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        retryable=job.retryable,
        poll_after_ms=None if job.is_final else round(poll_after_s(job) * 1000),
        engine=job.engine,
        fallback_reason=job.result.fallback_reason if job.result else None,
        request=_asked(job.request) if isinstance(job.request, JobRequest) else _asked_song(job.request),
        sections=sections,
        created_at=timestamp(job.created_at_s),
        started_at=None if job.started_at_s is None else timestamp(job.started_at_s),
        finished_at=None if job.finished_at_s is None else timestamp(job.finished_at_s),
        expires_at=timestamp(job.expires_at_s),
        audio_url=f"{url}/audio" if job.result else None,
        remarks=list(job.result.remarks) if job.result else [],
        error=Problem.model_validate(job.error) if job.error else None,
        links=JobLinks(
            self=status_url(job),
            events=f"{url}/events",
            cancel=None if job.is_final else url,
            analysis=f"{url}/analyze-failure" if job.status == "failed" else None,
            remake=f"/api/songs/{job.id}/remake" if sections and job.is_final else None,
        ),
    )


def _asked(request: JobRequest) -> Asked:
    brief = request.brief
    return Asked(
        prompt=brief.prompt,
        duration=brief.duration_s,
        mood=brief.mood,
        tempo=brief.tempo_bpm,
        instruments=list(brief.instruments),
        username=request.username,
        seed=brief.seed,
        format=brief.format,
    )


def _asked_song(request: SongRequest) -> AskedSong:
    return AskedSong(
        title=request.title,
        username=request.username,
        format=request.format,
        seed=request.seed,
        sections=[AskedSection.model_validate(section.to_json()) for section in request.sections],
    )


def _sections(request: SongRequest, jobs: Mapping[int, Job]) -> list[SectionResponse]:
    """Return how the sections of a song stand."""
    told = []
    for number, (section, start_s) in enumerate(zip(request.sections, request.starts_s(), strict=True), start=1):
        job = jobs.get(number)
        told.append(
            SectionResponse(
                number=number,
                name=section.name,
                start=start_s,
                duration=section.brief.duration_s,
                job_id=job.id if job else None,
                status=job.status if job else "cancelled",
                message=job.message if job else _DELETED,
                progress=job.progress if job else None,
                attempt=job.attempt if job else 0,
                audio_url=f"/api/jobs/{job.id}/audio" if job and job.result else None,
                error=Problem.model_validate(job.error) if job and job.error else None,
            )
        )
    return told


def _progress(job: Job, sections: list[SectionResponse] | None) -> float | None:
    """Return the share that is done; of a song that is being made, what its sections come to."""
    if sections is None or job.is_final:
        return job.progress
    done = sum(section.progress or 0.0 for section in sections)
    return round(done / (len(sections) + 1), 3)  # the last share is the joining


def answer(jobs: Jobs, job: Job, *, status: int = 200) -> Response:
    """Return the answer that tells how the job stands."""
    response = Response(line(jobs, job), status, mimetype="application/json")
    if not job.is_final:
        response.headers["Retry-After"] = str(math.ceil(poll_after_s(job)))
    return response


def accepted(jobs: Jobs, job: Job) -> Response:
    """Return the answer that a job was taken on."""
    response = answer(jobs, job, status=202)
    response.headers["Location"] = status_url(job)
    return response


def line(jobs: Jobs, job: Job) -> str:
    """Return the job as callers see it, as JSON on one line."""
    return described(jobs, job).model_dump_json()


def timestamp(unix_s: float) -> str:
    """Return the time as answers write it: UTC, RFC 3339, in milliseconds."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
