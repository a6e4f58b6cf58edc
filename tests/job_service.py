"""The web service on a folder of its own, with real records and files; a test is the executor of its jobs."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from fakes import TONE, FakeEngine
from flask.testing import FlaskClient

from app import create_app
from app.errors import EngineError, StudioError, problem
from app.jobs import Jobs
from app.jobs.database import open_database
from app.jobs.job import COMPOSING, FAILED, Job, Result
from app.jobs.records import Records
from app.jobs.training import TrainingRuns
from app.logs import Scrubber
from app.retry import Deadline
from app.settings import Settings
from app.store import FileStore


class FakeTime:
    """Unix time that a test can move on; between two moves it goes as time does."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class JobService:
    """The service, its parts, and what an executor would do.

    Attributes:
        client: For requests.
        engine: What makes the pieces.
        enqueued: Ids of the jobs that were handed to the executors, in order.
        songs: Ids of the songs whose sections are over, likewise.
    """

    def __init__(self, folder: Path, engine: FakeEngine | None = None, **settings: object) -> None:
        self.engine = engine or FakeEngine()
        self.clock = FakeTime()
        self.enqueued: list[str] = []
        self.songs: list[str] = []
        self.settings = Settings.model_validate({"STUDIO_DATA_DIR": folder, **settings})
        self.database = open_database(self.settings)
        self.records = Records(self.database, ttl_s=self.settings.job_ttl_s, queue=self, clock=self.clock)
        self.store = FileStore(None, folder=folder / "files")
        self.jobs = Jobs(
            self.records,
            self.store,
            queue=self,
            engine=self.engine.name,
            max_attempts=self.settings.job_attempts,
            max_queued=self.settings.max_queued,
            max_bytes=self.settings.store_max_bytes,
            ttl_s=self.settings.job_ttl_s,
            clock=self.clock,
        )
        self.training = TrainingRuns(self.database, ttl_s=self.settings.job_ttl_s, clock=self.clock)
        self.app = create_app(self.settings, engine=self.engine, jobs=lambda: self.jobs, training=lambda: self.training)
        self.client: FlaskClient = self.app.test_client()

    def submit(self, *, key: str | None = None, **request: object) -> str:
        """Submit a job, with an idempotency key if there is one, and return its id."""
        headers = {"Idempotency-Key": key} if key else {}
        response = self.client.post("/api/jobs", json={"prompt": "rain", **request}, headers=headers)
        assert response.status_code == 202, response.text
        return str(response.get_json()["id"])

    def status(self, job_id: str) -> dict[str, Any]:
        """Return the job as a caller sees it."""
        response = self.client.get(f"/api/status/{job_id}")
        assert response.status_code == 200, response.text
        job: dict[str, Any] = response.get_json()
        return job

    def start(self, job_id: str) -> None:
        """Begin the first attempt."""
        assert self.records.start(job_id, 1, COMPOSING)

    def succeed(self, job_id: str, content: bytes = TONE.content, *, remarks: tuple[str, ...] = ()) -> None:
        """Store what the job made, and finish it."""
        job = self.job(job_id)
        name = f"{job_id}.wav"
        self.store.put(name, content)
        digest = hashlib.sha256(content).hexdigest()
        result = Result(name, digest, len(content), "audio/wav", 1.0, job.brief.seed, remarks)
        assert self.records.succeed(job_id, result)

    def fail(self, job_id: str, error: StudioError) -> None:
        """End the job as an executor does when the engine raises that."""
        told = problem(error, request_id=self.job(job_id).request_id, scrub=Scrubber())
        assert self.records.fail(job_id, told, retryable=error.retryable, message=FAILED)

    def run(self, job_id: str) -> None:
        """Make the piece of a queued job with the engine, once."""
        self.start(job_id)
        try:
            take = self.engine.generate(self.job(job_id).brief, deadline=Deadline.after(10))
        except EngineError as error:
            self.fail(job_id, error)
        else:
            self.succeed(job_id, take.file.content, remarks=take.remarks)

    def finished(self, *, key: str | None = None, **request: object) -> str:
        """Submit a job, run it, and return its id."""
        job_id = self.submit(key=key, **request)
        self.run(job_id)
        return job_id

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run each job as soon as it is enqueued, for as long as the block lasts."""
        over = threading.Event()

        def work() -> None:
            done = 0
            while not over.wait(0.01):
                for job_id in self.enqueued[done:]:
                    # It is enqueued a moment before the transaction that writes it is committed.
                    while self.records.get(job_id) is None:
                        time.sleep(0.005)
                    self.run(job_id)
                    done += 1

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield
        finally:
            over.set()
            worker.join()

    def job(self, job_id: str) -> Job:
        job = self.records.get(job_id)
        assert job
        return job

    def close(self) -> None:
        self.database.close()

    def enqueue(self, _: sa.Connection, job_id: str) -> None:
        """Be the way to the executors."""
        self.enqueued.append(job_id)

    def enqueue_song(self, _: sa.Connection, song_id: str) -> None:
        """Be the way to the executors for songs."""
        self.songs.append(song_id)

    def drop(self, job_id: str) -> None:
        """Be the way back."""


MakeService = Callable[..., JobService]
"""The fixture `make_service`: takes an engine and settings by the names of their variables."""
