"""A process that runs jobs, with a real DBOS on an SQLite file, and an engine that does what a test says."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from fakes import FakeEngine, Outcome

from app.engines.engine import Brief, Report, Take, ignore
from app.errors import Cancelled
from app.jobs import executor as executors
from app.jobs.executor import Caretaker, Embedded, Executor
from app.jobs.job import Job, JobRequest
from app.jobs.parts import LateParts
from app.jobs.workflow import Pieces
from app.logs import Scrubber
from app.retry import Deadline, RetryPolicy
from app.settings import Settings
from app.studio import Studio

END_LIMIT_S: Final = 15.0


def wait_for(condition: Callable[[], object], limit_s: float = END_LIMIT_S) -> None:
    give_up_at = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.02)


class Script:
    """An engine that does for each prompt what the test says."""

    name = "script"
    abilities = FakeEngine().abilities
    policy = RetryPolicy(attempts=1, timeout_s=60, backoff_s=0)

    def __init__(self) -> None:
        self.engines: dict[str, FakeEngine] = {}
        self.cancelled: set[str] = set()

    def generate(self, brief: Brief, *, deadline: Deadline, report: Report = ignore, resume: str | None = None) -> Take:
        try:
            return self.engines[brief.prompt].generate(brief, deadline=deadline, report=report, resume=resume)
        except Cancelled:
            self.cancelled.add(brief.prompt)
            raise


class Shop:
    """A process that runs jobs."""

    def __init__(self, folder: Path, *, studio: Callable[[Settings], Studio] | None = None, **settings: object) -> None:
        """
        Args:
            folder: Gets the data.
            studio: Makes what makes the music; a script by default.
            settings: By name.
        """
        self.settings = Settings.model_validate({"STUDIO_DATA_DIR": folder, **settings})
        self.script = Script()
        late = LateParts(self.settings, engine_name="script")
        made = studio(self.settings) if studio else Studio([self.script], max_active=9)
        self.executor = Embedded(Executor(self.settings, made, late))
        self.parts = late()
        self.numbers = itertools.count()

    def submit(self, *outcomes: Outcome, while_working: Callable[[], object] = lambda: None) -> str:
        prompt = f"piece {next(self.numbers)}"
        self.script.engines[prompt] = FakeEngine(*outcomes, while_working=while_working)
        request = JobRequest(Brief(prompt, 5.0, seed=1))
        return self.parts.jobs.submit(request, owner="", request_id="r").job.id

    def job(self, job_id: str) -> Job:
        return self.parts.jobs.get(job_id)

    def end(self, job_id: str) -> Job:
        wait_for(lambda: self.job(job_id).is_final)
        return self.job(job_id)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection for what only a broken process would write into DBOS's tables."""
        with self.parts.database.writing() as connection:
            yield connection

    def caretaker(self) -> Caretaker:
        pieces = Pieces(
            self.parts.records,
            self.parts.store,
            Studio([], max_active=1),
            timeout_s=1,
            deadline_s=1,
            scrub=Scrubber(),
        )
        return Caretaker(self.parts, pieces, executors.EMBEDDED_ID, scrub=Scrubber())
