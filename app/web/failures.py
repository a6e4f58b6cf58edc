"""Diagnoses: why something failed and what helps, of errors that are sent, of jobs, and of training runs elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

import structlog
from flask import Response, g
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field, StringConstraints

from app.errors import (
    AnalysisFailed,
    InvalidRequest,
    JobNotFailed,
    JobStoreUnavailable,
    NotFound,
    PayloadTooLarge,
    Unauthorized,
    UnsupportedMediaType,
)
from app.jobs import diagnosis
from app.web import problems
from app.web.body import MAX_TEXT_BODY_BYTES, with_json_body
from app.web.job_views import timestamp
from app.web.jobs import JOB_ERRORS, JobPath, OpenJobs, find
from app.web.schemas import (
    AnalyzeRequest,
    DiagnosisResponse,
    JobDiagnosis,
    TrainingLinks,
    TrainingRequest,
    TrainingResponse,
)

if TYPE_CHECKING:
    from app.failures import Diagnosis, Evidence
    from app.jobs.training import TrainingRun, TrainingRuns

_log = structlog.get_logger(__name__)

ANALYZE: Final = "/api/analyze-failure"
TRAINING: Final = "/api/training/local/"
OpenTraining = Callable[[], "TrainingRuns"]
"""Opens what keeps training runs, or returns what is open."""

Analyse = Callable[["Evidence"], "Diagnosis"]


class TrainingPath(BaseModel):
    """The id of a training run."""

    id: Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")] = Field(
        description="Your name for the run: letters, digits, dots, hyphens, colons and underscores."
    )


_BODY_ERRORS: Final = (InvalidRequest, PayloadTooLarge, UnsupportedMediaType, Unauthorized)


def blueprint(jobs: OpenJobs, training: OpenTraining, *, analyse: Analyse | None = None) -> APIBlueprint:
    """Return the routes.

    Args:
        jobs: Opens what keeps the jobs.
        training: Opens what keeps training runs.
        analyse: The analyser; by default that of `app.failures`, which is loaded for the first who asks.
    """
    api = APIBlueprint(
        "failures", __name__, abp_tags=[Tag(name="Failures", description="Why something failed, and what helps.")]
    )
    _add_routes_of_errors(api, jobs, analyse)
    _add_routes_of_training(api, training, analyse)
    return api


def _add_routes_of_errors(api: APIBlueprint, jobs: OpenJobs, analyse: Analyse | None) -> None:
    @api.post(
        ANALYZE,
        operation_id="analyze_failure",
        summary="Why did something fail?",
        responses={"200": DiagnosisResponse, **problems.responses(*_BODY_ERRORS, AnalysisFailed)},
    )
    @with_json_body(limit_bytes=MAX_TEXT_BODY_BYTES)
    def analyze_failure(body: AnalyzeRequest) -> Response:
        """Reads an error, from one line to a whole log, and says what kind of failure it is and what helps.

        The text is data: nothing in it is run, fetched or kept. Of more than 256 KiB the middle is not read. What is
        not recognised is `unknown`, with general advice.
        """
        found = _analysed(lambda: (analyse or _analyser())(_evidence(body)))
        return _answer(DiagnosisResponse.model_validate(found.to_json(body.job_id)))

    @api.get(
        "/api/jobs/<id>/analyze-failure",
        operation_id="analyze_job",
        summary="Why did a job fail?",
        responses={"200": JobDiagnosis, **problems.responses(*JOB_ERRORS, JobNotFailed, AnalysisFailed)},
    )
    def analyze_job(path: JobPath) -> Response:
        """Says why a job has failed, after how many attempts, whose fault that is, and what helps."""
        job = find(jobs, path.id)
        if job.status != "failed":
            raise JobNotFailed(f"The job is {job.status}.")
        found = _analysed(lambda: diagnosis.diagnose(job, now_s=time.time(), analyse=analyse or _analyser()))
        worked_s = diagnosis.elapsed_s(job)
        told = {
            "fault": diagnosis.fault_of(job),
            "code": (job.error or {}).get("code"),
            "attempts": job.attempt,
            "elapsed": None if worked_s is None else round(worked_s, 3),
        }
        return _answer(JobDiagnosis.model_validate(found.to_json(job.id) | told))


def _add_routes_of_training(api: APIBlueprint, training: OpenTraining, analyse: Analyse | None) -> None:
    @api.put(
        f"{TRAINING}<id>",
        operation_id="put_training",
        summary="Tell of a training run elsewhere",
        responses={
            "200": TrainingResponse,
            "201": TrainingResponse,
            **problems.responses(*_BODY_ERRORS, JobStoreUnavailable),
        },
    )
    @with_json_body(limit_bytes=MAX_TEXT_BODY_BYTES)
    def put_training(path: TrainingPath, body: TrainingRequest) -> Response:
        """Keeps how a training run stands that this service has no part in, in the place of what was told before.

        It is kept for as long as jobs are; of each API key the newest 200 runs with up to 16 MiB of text.
        Without API keys all callers share them.
        """
        run, is_new = training().put(g.caller, path.id, status=body.status, error=body.told, config=body.config)
        return _answer(_described(run), status=201 if is_new else 200)

    @api.get(
        f"{TRAINING}<id>/analyze-failure",
        operation_id="analyze_training",
        summary="Why did a training run fail?",
        responses={
            "200": DiagnosisResponse,
            **problems.responses(
                InvalidRequest, Unauthorized, NotFound, JobNotFailed, JobStoreUnavailable, AnalysisFailed
            ),
        },
    )
    def analyze_training(path: TrainingPath) -> Response:
        """Says why a training run has failed that you have told of, and what helps."""
        run = training().get(g.caller, path.id)
        if run is None:
            raise NotFound("There is no such training run, or none any more.")
        if run.status != "failed":
            raise JobNotFailed(f"The training run is {run.status}.")
        found = _analysed(lambda: (analyse or _analyser())(_evidence(run)))
        return _answer(DiagnosisResponse.model_validate(found.to_json(run.id)))


def _analyser() -> Analyse:
    """Return the analyser. Its rules take 6 MB and a fifth of a second when they are first used."""
    from app.failures import analyse

    return analyse


def _evidence(told: AnalyzeRequest | TrainingRun) -> Evidence:
    from app.failures import Evidence

    if isinstance(told, AnalyzeRequest):
        return Evidence(told.error, told.config, told.status, told.headers, told.elapsed)
    return Evidence(told.error or "", told.config)


def _analysed(analyse: Callable[[], Diagnosis]) -> Diagnosis:
    """Return what the analyser finds.

    Raises:
        AnalysisFailed: it has a mistake.
    """
    try:
        return analyse()
    except Exception as error:
        _log.exception("the analyser failed")
        raise AnalysisFailed(f"The analyser stopped with {type(error).__name__}.") from error


def _described(run: TrainingRun) -> TrainingResponse:
    return TrainingResponse(
        id=run.id,
        status=run.status,
        updated_at=timestamp(run.updated_at_s),
        expires_at=timestamp(run.expires_at_s),
        links=TrainingLinks(analysis=f"{TRAINING}{run.id}/analyze-failure" if run.status == "failed" else None),
    )


def _answer(told: BaseModel, *, status: int = 200) -> Response:
    return Response(told.model_dump_json(), status, mimetype="application/json")
