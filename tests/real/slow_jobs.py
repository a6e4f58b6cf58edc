"""The service with a slow engine that leaves a trace of all it does; for gunicorn to serve, and for workers.

The trace is a file to which every process appends, one JSON object a line: who works on what, and
when. `chaos.py` reads from it whether a job was run by two processes at the same time. The engine
stands for an upstream that goes on with what it was given while its caller is dead: with the
ticket of a run, that run's end can be waited for.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Final

from fakes import TONE

from app import create_app, create_worker
from app.engines.engine import Abilities, Brief, Progress, Report, Take, ignore
from app.retry import Deadline, RetryPolicy

TRACE: Final = Path(os.environ["TEST_TRACE"])
TAKES_S: Final = float(os.environ["TEST_ENGINE_TAKES_S"])


class SlowEngine:
    """Takes half to one and a half of `TAKES_S` seconds for a piece, as its seed decides."""

    name = "slow"
    abilities = Abilities()
    policy = RetryPolicy(attempts=1, timeout_s=600, backoff_s=0)

    def generate(self, brief: Brief, *, deadline: Deadline, report: Report = ignore, resume: str | None = None) -> Take:
        if resume is None:
            run, due_s = secrets.token_hex(8), time.monotonic() + TAKES_S * (0.5 + brief.seed % 1_000 / 1_000)
            _trace("submitted", brief, run)
        else:
            run, due_s = json.loads(resume)
            _trace("resumed", brief, run)
        report(Progress("Composing…", 0.1, ticket=json.dumps([run, due_s])))
        # Fifty of these in one process must not disturb what is measured there, so nothing is polled.
        (deadline.cancelled or threading.Event()).wait(min(max(due_s - time.monotonic(), 0.0), deadline.remaining_s()))
        if deadline.expired:
            _trace("cancelled" if deadline.is_cancelled else "expired", brief, run)
            raise deadline.error("The slow engine was not finished in time.")
        _trace("finished", brief, run)
        return Take(TONE, decode_s=0.0)


def _trace(event: str, brief: Brief, run: str) -> None:
    """Append a line; one write of a short line to a file opened for appending is not torn by others."""
    # The session of a process is the program that was started, whose pid is what gets killed.
    entry = {"event": event, "prompt": brief.prompt, "run": run, "program": os.getsid(0), "at_s": time.monotonic()}
    descriptor = os.open(TRACE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, json.dumps(entry).encode() + b"\n")
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    create_worker(engine=SlowEngine()).run()
else:
    app = create_app(engine=SlowEngine())
