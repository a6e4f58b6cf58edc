"""The service with an engine that does what the prompt says: `slow`, `timeout`, `nonsense`; else all is well.

`fickle` fails once, and is well when the same is asked for again.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final

from fakes import tone

from app import create_app
from app.engines.engine import Abilities, Brief, Progress, Report, Take, ignore
from app.errors import StudioError, UpstreamBadResponse, UpstreamTimeout
from app.retry import Deadline, RetryPolicy

_SLOW_S: Final = float(os.environ.get("TEST_ENGINE_TAKES_S", "3"))
_FAILURES: Final[dict[str, StudioError]] = {
    "timeout": UpstreamTimeout("1 attempt of 60 s got no answer."),
    "nonsense": UpstreamBadResponse("The answer held no audio."),
}
_TONE: Final = tone(5.0)


class MoodyEngine:
    """Plays five seconds of an A, at once or not at all."""

    name = "moody"
    abilities = Abilities()
    policy = RetryPolicy(attempts=1, timeout_s=600, backoff_s=0)

    def __init__(self) -> None:
        self._failed_once: set[Brief] = set()

    def generate(self, brief: Brief, *, deadline: Deadline, report: Report = ignore, resume: str | None = None) -> Take:
        for word, failure in _FAILURES.items():
            if word in brief.prompt:
                raise failure
        if "fickle" in brief.prompt and brief not in self._failed_once:
            self._failed_once.add(brief)
            raise _FAILURES["timeout"]
        if "slow" in brief.prompt:
            self._take_time(deadline, report)
        return Take(
            _TONE, decode_s=0.0, remarks=("Nobody here plays <b>kazoo</b>.",) if "kazoo" in brief.prompt else ()
        )

    def _take_time(self, deadline: Deadline, report: Report) -> None:
        until_s = time.monotonic() + _SLOW_S
        report(Progress("Composing slowly…", 0.25))
        (deadline.cancelled or threading.Event()).wait(until_s - time.monotonic())
        if deadline.expired:
            raise deadline.error("The moody engine was not finished in time.")


app = create_app(engine=MoodyEngine())
