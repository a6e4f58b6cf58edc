"""Why a job has failed: what its error says, read by the failure analyser, and whose fault that is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from app import errors
from app.jobs.job import Job

if TYPE_CHECKING:
    from app.failures import Diagnosis, Evidence

Fault = Literal["request", "service", "upstream"]
"""Who must do something: the caller with another request, the operator of this service, or those of the upstream."""

_FAULTS: Final[Mapping[str, Fault]] = {
    errors.PromptRefused.code(): "request",
    errors.InvalidRequest.code(): "request",
    errors.UpstreamBadResponse.code(): "upstream",
    errors.UpstreamError.code(): "upstream",
    errors.UpstreamUnavailable.code(): "upstream",
    errors.UpstreamTimeout.code(): "upstream",
}
"""By the code of the job's error. What is not here is ours: an upstream that rejects us was given our credentials."""

_EMBEDDED: Final = "composer"
"""The engine that is a part of this service: there is nobody else to blame."""

_ANOTHER_FORMAT: Final = "ask for another format"
"""How `app.audio` says that the piece is well, and only the format that was asked for cannot hold it."""

_MOST_SUGGESTIONS: Final = 6
_HINTS_FOR_OTHERS: Final = frozenset({errors.UpstreamTimeout.code(), errors.UpstreamUnavailable.code()})
"""Whose hints are for those who wait for an answer: to ask with a job, and to read a header of the answer."""

_MADE_FOR_RUNS: Final = frozenset({"invalid_config", "unknown"})
"""Kinds whose general advice is about programs of one's own and their logs, of which a caller has none."""

_AGAIN: Final = re.compile(r"^(?:retry|wait|honour retry-after)\b|then retry", re.IGNORECASE)
_NOT_AGAIN: Final = re.compile(r"do not retry", re.IGNORECASE)

_SAYS_NOTHING: Final = (errors.InternalError.code(), errors.ResultLost.code())
"""Mistakes of ours, whose sentences would be taken for an upstream's."""


def fault_of(job: Job) -> Fault:
    """Return whose fault the failure of the job is."""
    error = job.error or {}
    if _wants_another_format(error):
        return "request"
    fault = _FAULTS.get(str(error.get("code")), "service")
    return "service" if fault == "upstream" and job.engine == _EMBEDDED else fault


def _wants_another_format(error: Mapping[str, object]) -> bool:
    return _ANOTHER_FORMAT in str(error.get("detail"))


def elapsed_s(job: Job) -> float | None:
    """Return how long the job has worked, all attempts and the waits between them included."""
    return None if job.started_at_s is None or job.finished_at_s is None else job.finished_at_s - job.started_at_s


def diagnose(job: Job, *, now_s: float, analyse: Callable[[Evidence], Diagnosis]) -> Diagnosis:
    """Return why the job has failed.

    Args:
        job: One that has failed.
        now_s: What time it is, in Unix seconds; a wait that its error asked for may be over.
        analyse: The analyser.
    """
    from app.failures import Evidence

    error: Mapping[str, Any] = job.error or {}
    is_told = error.get("code") not in _SAYS_NOTHING
    # Not the status: it is that of our answer, and in the words of HTTP would say something else of the upstream.
    evidence = Evidence(
        f"{error.get('detail', '')}\ncode: {error.get('code', '')}" if is_told else "",
        config=job.request.to_json(),
        headers=_wait(job, error.get("retry_after"), now_s),
        elapsed_s=elapsed_s(job),
    )
    found = analyse(evidence)
    suggestions = tuple(dict.fromkeys([*_own_advice(job, error), *_fitting(job, error, found)]))[:_MOST_SUGGESTIONS]
    return dataclasses.replace(found, suggestions=suggestions, retryable=job.retryable)


def _own_advice(job: Job, error: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the service itself knows to help."""
    if _wants_another_format(error):
        yield f"Ask for another format than {job.request.format}"
        return
    hint = str(error.get("hint") or "").rstrip(".")
    if hint and error.get("code") not in _HINTS_FOR_OTHERS and "request_id" not in hint:
        yield hint
    if fault_of(job) == "service":
        yield f"Tell the operator of this service the request_id {error.get('request_id') or job.request_id}"


def _fitting(job: Job, error: Mapping[str, Any], found: Diagnosis) -> Iterator[str]:
    """Yield what the analyser advises, without what this caller has no use for or what `retryable` contradicts."""
    from app.failures import TYPES

    general = TYPES[found.error_type].advice if found.error_type in _MADE_FOR_RUNS else ()
    for advice in found.suggestions:
        # Neither the format nor the embedded engine has an upstream to look at.
        is_ours = job.engine == _EMBEDDED or _wants_another_format(error)
        if advice in general or (is_ours and not advice.startswith("Ask for a shorter duration")):
            continue
        if not (_NOT_AGAIN if job.retryable else _AGAIN).search(advice):
            yield advice


def _wait(job: Job, retry_after_s: object, now_s: float) -> Mapping[str, str]:
    left_s = retry_after_s - int(now_s - (job.finished_at_s or now_s)) if isinstance(retry_after_s, int) else 0
    return {"Retry-After": str(left_s)} if left_s > 0 else {}
