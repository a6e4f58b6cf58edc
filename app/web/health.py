"""Health: am I up (`/health`), and can I do my job (`/ready`)?"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final

import structlog
from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from app.errors import EngineNotConfigured, NotReady, StudioError
from app.jobs.job import Census
from app.logs import Scrubber
from app.retry import Clock
from app.studio import Studio
from app.web import problems
from app.web.jobs import OpenJobs
from app.web.schemas import Health, Readiness

_log = structlog.get_logger(__name__)

LONGEST_CHECK_S: Final = 4.0
"""How long `/ready` waits for the database; platforms give up after 5 s or less."""

FRESH_S: Final = 1.0
"""For how long `/ready` repeats what the database has answered: anybody may ask, as often as they like."""

PATIENCE_S: Final = 60.0
"""How long a job may wait before it counts that nobody is there to run it: whoever does may just be starting again."""

_RUN_THEM: Final = "Start `studio worker`, with the same settings."
_RUN_THEM_HERE: Final = "Set STUDIO_EXECUTOR=embedded, here or for another service on the same STUDIO_DATA_DIR."


@dataclass(frozen=True, slots=True)
class Remark:
    """What an operator should know although nothing is missing."""

    text: str


Check = Callable[[], str | Remark | None]
"""Says what is missing, or None, or a `Remark`; may raise a `StudioError` that says what is missing."""


_WITHOUT_KEY: Final[dict[str, Any]] = {"security": []}
"""For platforms, which have no API key."""


def engine_check(studio: Studio) -> Check:
    """Return the check whether there is an engine at all."""

    def check() -> str | Remark | None:
        if stand_in := studio.stand_in:
            return Remark(f"{EngineNotConfigured.title} {stand_in.engine} takes over.")
        return None if studio.is_configured else f"{EngineNotConfigured.title} {EngineNotConfigured.hint}"

    return check


def breaker_check(studio: Studio) -> Check:
    """Return the check whether any engine can be asked now.

    It passes again as soon as a breaker would let a probe through. Were it to wait for the outcome, a platform that
    sends requests only to who is ready would send none, and nothing would ever be probed.
    """

    def check() -> str | Remark | None:
        down: list[str] = []
        for engine, outlook in studio.outlooks():
            if not outlook.blocked_s:
                return Remark(f"{', '.join(down)}; {engine} takes over.") if down else None
            down.append(f"{engine} is known to be down and is asked again in {math.ceil(outlook.blocked_s)} s")
        return f"{', '.join(down)}." if down else None

    return check


def jobs_check(jobs: OpenJobs, *, clock: Clock = time.monotonic) -> Check:
    """Return the check whether jobs can be asked about. `clock` are monotonic seconds."""

    def check() -> None:
        jobs().probe()

    return _Together(check, clock=clock)


class _Together:
    """A check that many may wait for and one thread runs: everybody may ask, and the database is asked once a second.

    Who comes while it runs, or within `FRESH_S` of its beginning, gets what comes of it. When that takes too long
    something is missing, and nobody waits on.
    """

    def __init__(self, check: Check, *, clock: Clock) -> None:
        """
        Args:
            check: Waits for the database.
            clock: Monotonic seconds.
        """
        self._check = check
        self._clock = clock
        self._began_s = 0.0
        self._traceback: TracebackType | None = None
        self._lock = threading.Lock()
        self._running: Future[str | Remark | None] | None = None

    def __call__(self) -> str | Remark | None:
        with self._lock:
            running = self._running
            now_s = self._clock()
            if running is None or (running.done() and now_s - self._began_s >= FRESH_S):
                running = self._running = Future()
                self._began_s = now_s
                run = partial(copy_context().run, self._run, running)
                threading.Thread(target=run, name="check", daemon=True).start()
        try:
            error = running.exception(LONGEST_CHECK_S)
        except TimeoutError:
            return f"No answer within {LONGEST_CHECK_S:g} s."
        if error:
            # As it came: raising it adds to its traceback, and anybody may ask as often as they like.
            raise error.with_traceback(self._traceback)
        return running.result()

    def _run(self, running: Future[str | Remark | None]) -> None:
        try:
            running.set_result(self._check())
        except Exception as error:  # noqa: BLE001 - whoever waits for it deals with it
            self._traceback = error.__traceback__
            running.set_exception(error)


def executor_check(is_held: Callable[[], bool] | None, census: Callable[[], tuple[Census | None, bool]]) -> Check:
    """Return the check whether anybody runs the jobs that this service accepts and does not run itself.

    Where nobody does, and there are jobs that have waited for a while, one that runs alone is not ready. With a
    database for many it is: the jobs are safe there, and no caller would be better off without the replica.

    Args:
        is_held: Whether somebody has the lock of the data folder; None where the database is one for many.
        census: How all jobs stand, if that is known, and whether asking failed.
    """

    def check() -> str | Remark | None:
        if is_held and is_held():
            return None
        found, _ = census()  # that asking failed is for the check of the jobs to say
        if is_held and found and found.queue_age_s >= PATIENCE_S:
            return f"Jobs have waited for {found.queue_age_s:.0f} s and nobody runs them. {_RUN_THEM_HERE}"
        if is_held:
            return Remark(f"nobody runs jobs. {_RUN_THEM_HERE}")
        return Remark(f"nobody runs jobs. {_RUN_THEM}") if found and not found.executors else None

    return check


def blueprint(*, version: str, engine_name: str, checks: Mapping[str, Check]) -> APIBlueprint:
    """Return the routes.

    Args:
        version: Of this service.
        engine_name: The engine that is configured.
        checks: What `/ready` asks, by name.
    """
    api = APIBlueprint("health", __name__, abp_tags=[Tag(name="Health", description="Am I up, and can I do my job?")])
    # Made once: this answer must come however busy the process is.
    health = Health(status="ok", version=version, engine=engine_name).model_dump_json()

    @api.get(
        "/health",
        summary="Am I up?",
        responses={"200": Health, **problems.responses()},
        openapi_extensions=_WITHOUT_KEY,
    )
    def is_up() -> Response:
        """Answers at once and touches nothing: neither the engine nor anything beyond this process.

        Whoever restarts services should ask here: a restart mends no upstream.
        """
        return Response(health, mimetype="application/json")

    @api.get(
        "/ready",
        summary="Can I do my job?",
        responses={"200": Readiness, **problems.responses(NotReady)},
        openapi_extensions=_WITHOUT_KEY,
    )
    def is_ready() -> Response:
        """Runs every check and names each; 503 when one of them finds something missing.

        Whoever distributes requests may ask here. It is no reason to restart anything: an upstream that is down makes
        this answer 503 too, unless another engine takes over (`STUDIO_FALLBACK`).
        """
        found = {name: _run(name, check) for name, check in checks.items()}
        told = {name: result.text if isinstance(result, Remark) else result for name, result in found.items()}
        if missing := [name for name, result in found.items() if not isinstance(result, Remark)]:
            error = NotReady(f"Not ready: {', '.join(missing)}.")
            return problems.answer(error, scrub=Scrubber(), checks=told)
        return Response(Readiness(status="ok", checks=told).model_dump_json(), mimetype="application/json")

    return api


_FINE: Final = Remark("ok")


def _run(name: str, check: Check) -> str | Remark:
    """Return what is missing, or a `Remark` when nothing is."""
    try:
        found = check()
    except StudioError as error:
        _log.warning("check failed", check=name, upstream_text=error.log_text)
        return error.detail or error.title
    except Exception:  # noqa: BLE001 - whatever it is, this service is not ready
        _log.exception("check failed", check=name)
        return "The check itself failed; the log has the reason."
    return Remark(f"ok: {found.text}") if isinstance(found, Remark) else found or _FINE
