"""The steps of a job one by one, and whole jobs on a real DBOS that runs in this process on an SQLite file."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos import DBOS, DBOSClient, _workflow_commands
from dbos._dbos import DBOSRegistry, _get_dbos_instance
from dbos._error import DBOSAwaitedWorkflowCancelledError
from dbos._queue import DEFAULT_QUEUE_POLLING_INTERVAL_SEC
from fakes import TONE, FakeEngine
from job_shop import Shop, wait_for
from sqlalchemy.exc import OperationalError

from app.engines.engine import Brief, Progress, Report, Take, ignore
from app.errors import (
    JobStoreUnavailable,
    PromptRefused,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.jobs import executor as executors
from app.jobs import workflow
from app.jobs.job import COMPOSING, FAILED, SUCCEEDED, Job, JobRequest
from app.jobs.parts import Parts, open_parts
from app.jobs.workflow import MAX_DISPATCHES, MAX_WAIT_S, QUEUE, Pieces
from app.logs import Scrubber
from app.retry import Deadline
from app.settings import Settings
from app.store import FileStore
from app.studio import Studio

DEADLINE_S = 100.0
TIMEOUT_S = 60.0


# ---------------------------------------------------------------------- steps


class Bench:
    """The steps without a queue: a test calls them as DBOS would."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.now_s = time.time()

    def pieces(self, engine: FakeEngine, store: FileStore | None = None) -> Pieces:
        return Pieces(
            self.parts.records,
            store or self.parts.store,
            Studio([engine], max_active=1),
            timeout_s=TIMEOUT_S,
            deadline_s=DEADLINE_S,
            scrub=Scrubber(["a secret"]),
            clock=lambda: self.now_s,
        )

    def submit(self) -> str:
        request = JobRequest(Brief("rain", 5.0, seed=7))
        return self.parts.jobs.submit(request, owner="", request_id="r-1").job.id

    def job(self, job_id: str) -> Job:
        return self.parts.jobs.get(job_id)

    def files(self) -> list[str]:
        return list(self.parts.store.names())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    parts = open_parts(Settings.model_validate({"STUDIO_DATA_DIR": tmp_path}), engine_name="fake")
    yield Bench(parts)
    parts.database.close()


def test_an_attempt_stores_the_piece_and_finishing_tells_of_it(bench: Bench) -> None:
    job_id = bench.submit()
    pieces = bench.pieces(FakeEngine(remarks=("No kazoo.",)))

    outcome = pieces.attempt(job_id, 1)
    running = bench.job(job_id)
    pieces.finish(job_id, outcome)

    assert (running.status, running.attempt) == ("running", 1)
    job = bench.job(job_id)
    assert (job.status, job.message, job.attempt, job.retryable) == ("succeeded", SUCCEEDED, 1, False)
    assert job.result is not None
    assert (job.result.seed, job.result.remarks, job.result.media_type) == (7, ("No kazoo.",), "audio/wav")
    assert job.result.sha256 == hashlib.sha256(TONE.content).hexdigest()
    assert b"".join(bench.parts.jobs.read(job.result)) == TONE.content


def test_the_engine_is_told_when_the_piece_is_stored(bench: Bench) -> None:
    stored: list[int] = []

    bench.pieces(FakeEngine(let_go=lambda: stored.append(len(bench.files())))).attempt(bench.submit(), 1)

    assert stored == [1]


def test_failures_are_repeated_after_one_two_and_three_seconds(bench: Bench) -> None:
    bench.parts = open_parts(_settings(bench, STUDIO_JOB_ATTEMPTS=5), engine_name="fake")
    job_id = bench.submit()
    pieces = bench.pieces(FakeEngine(UpstreamError("It fell over.")))

    waits_s = []
    for number in range(1, 5):
        outcome = pieces.attempt(job_id, number)
        assert outcome["status"] == "retry"
        waits_s.append(round(outcome["retry_at_s"] - bench.now_s, 3))

    assert waits_s == [1, 2, 3, 3]
    assert bench.job(job_id).message == "The music engine had a problem, retrying… (4/5)"


def _settings(bench: Bench, **settings: object) -> Settings:
    path = bench.parts.database.engine.url.database
    assert path is not None
    return Settings.model_validate({"STUDIO_DATA_DIR": Path(path).parent, **settings})


def test_a_wait_that_the_upstream_names_is_obeyed(bench: Bench) -> None:
    outcome = bench.pieces(FakeEngine(UpstreamUnavailable(retry_after_s=42.0))).attempt(bench.submit(), 1)

    assert outcome["retry_at_s"] - bench.now_s == pytest.approx(42)


@pytest.mark.parametrize(
    "wait_s",
    [pytest.param(MAX_WAIT_S + 1, id="too long for anybody"), pytest.param(DEADLINE_S, id="beyond the deadline")],
)
def test_a_wait_that_is_too_long_ends_the_job_and_is_told(bench: Bench, wait_s: float) -> None:
    outcome = bench.pieces(FakeEngine(UpstreamUnavailable(retry_after_s=wait_s))).attempt(bench.submit(), 1)

    assert outcome["status"] == "failed"
    assert outcome["error"]["retry_after"] == wait_s
    assert outcome["retryable"] is True


def test_the_last_attempt_tells_what_went_wrong(bench: Bench) -> None:
    job_id = bench.submit()
    pieces = bench.pieces(FakeEngine(UpstreamError("The model said a secret.", log_text="Traceback …")))

    pieces.finish(job_id, pieces.attempt(job_id, 3))

    job = bench.job(job_id)
    assert (job.status, job.message, job.retryable) == ("failed", FAILED, True)
    assert job.error == {
        "type": "/docs/errors#upstream-error",
        "title": UpstreamError.title,
        "status": 502,
        "detail": "The model said ***.",
        "code": "upstream-error",
        "error": UpstreamError.title,
        "retryable": True,
        "hint": UpstreamError.hint,
        "request_id": "r-1",
        "errors": [],
        "attempts": 3,
    }


def test_what_is_not_worth_repeating_is_not_repeated(bench: Bench) -> None:
    job_id = bench.submit()
    pieces = bench.pieces(FakeEngine(PromptRefused("Too loud.")))

    pieces.finish(job_id, pieces.attempt(job_id, 1))

    job = bench.job(job_id)
    assert (job.status, job.message, job.retryable) == ("failed", PromptRefused.title, False)


def test_a_mistake_of_ours_ends_the_job_without_telling_more(bench: Bench) -> None:
    job_id = bench.submit()
    pieces = bench.pieces(FakeEngine(ZeroDivisionError("in a secret place")))

    pieces.finish(job_id, pieces.attempt(job_id, 1))

    job = bench.job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "internal-error"
    assert "secret" not in str(job.error)


def test_an_interrupted_attempt_goes_on_with_its_ticket(bench: Bench) -> None:
    """The process dies after the upstream took the work: the step runs again, in another process."""
    job_id = bench.submit()
    engine = FakeEngine(KeyboardInterrupt(), TONE, ticket='"t-1"')
    with pytest.raises(KeyboardInterrupt):
        bench.pieces(engine).attempt(job_id, 1)

    outcome = bench.pieces(engine).attempt(job_id, 1)

    assert outcome["status"] == "succeeded"
    assert engine.resumed == [None, '"t-1"']


def test_a_new_attempt_begins_anew(bench: Bench) -> None:
    job_id = bench.submit()
    engine = FakeEngine(UpstreamError(), TONE, ticket='"t-1"')
    pieces = bench.pieces(engine)

    first = pieces.attempt(job_id, 1)
    pieces.attempt(job_id, 2, {**first, "retry_at_s": first["retry_at_s"] - 1})

    assert engine.resumed == [None, None]


def test_an_attempt_has_what_is_left_of_the_jobs_time(bench: Bench) -> None:
    job_id = bench.submit()
    engine = FakeEngine(UpstreamTimeout())
    pieces = bench.pieces(engine)

    pieces.attempt(job_id, 1)
    bench.now_s += DEADLINE_S - 20
    pieces.attempt(job_id, 2)
    bench.now_s += DEADLINE_S
    pieces.attempt(job_id, 2)  # again, after a crash and a long night: that time is not the job's

    left_s = [deadline.at_s - time.monotonic() for deadline in engine.deadlines]
    assert left_s == pytest.approx([TIMEOUT_S, 20, TIMEOUT_S], abs=3)


def test_after_a_long_night_a_job_has_all_its_attempts(bench: Bench) -> None:
    job_id = bench.submit()
    pieces = bench.pieces(FakeEngine(UpstreamError(), UpstreamError(), UpstreamError(), UpstreamError()))
    pieces.attempt(job_id, 1)
    bench.now_s += 10 * DEADLINE_S

    interrupted = pieces.attempt(job_id, 1)
    bench.now_s = interrupted["retry_at_s"]
    second = pieces.attempt(job_id, 2, interrupted)

    assert (interrupted["status"], second["status"]) == ("retry", "retry")


def test_a_clock_that_is_set_back_does_not_stop_a_job(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "MAX_WAIT_S", 0.2)
    job_id = bench.submit()
    pieces = bench.pieces(FakeEngine(UpstreamError(), TONE))
    first = pieces.attempt(job_id, 1)
    bench.now_s -= 86_400

    assert pieces.attempt(job_id, 2, first)["status"] == "succeeded"


def test_a_job_that_is_over_is_not_made(bench: Bench) -> None:
    job_id = bench.submit()
    bench.parts.jobs.cancel(job_id)
    engine = FakeEngine()
    pieces = bench.pieces(engine)

    pieces.finish(job_id, pieces.attempt(job_id, 1))

    assert engine.briefs == []
    assert bench.job(job_id).status == "cancelled"


def test_a_cancelled_job_keeps_no_file(bench: Bench) -> None:
    job_id = bench.submit()
    pieces = bench.pieces(FakeEngine())
    outcome = pieces.attempt(job_id, 1)
    bench.parts.jobs.cancel(job_id)

    assert bench.files()
    pieces.finish(job_id, outcome)

    assert bench.job(job_id).status == "cancelled"
    assert bench.files() == []


def test_who_comes_second_does_not_touch_the_file_of_the_first(bench: Bench) -> None:
    """A frozen process took part in a job that another one has finished with other music."""
    job_id = bench.submit()
    pieces, late = bench.pieces(FakeEngine(TONE)), bench.pieces(FakeEngine(OTHER_TONE))
    late_outcome = late.attempt(job_id, 1)
    pieces.finish(job_id, pieces.attempt(job_id, 1))

    late.finish(job_id, late_outcome)

    job = bench.job(job_id)
    assert job.result is not None
    assert bench.files() == [job.result.file]
    assert b"".join(bench.parts.jobs.read(job.result)) == TONE.content


OTHER_TONE = type(TONE)(TONE.content[:-1] + b"\x01", "wav", TONE.duration_s, TONE.rate_hz, TONE.channels)


def test_finishing_twice_is_finishing_once(bench: Bench) -> None:
    """DBOS runs a step again when its process died before it could write down that the step was done."""
    job_id = bench.submit()
    pieces = bench.pieces(FakeEngine())
    outcome = pieces.attempt(job_id, 1)

    pieces.finish(job_id, outcome)
    first = bench.job(job_id)
    pieces.finish(job_id, outcome)

    assert bench.job(job_id) == first
    assert len(bench.files()) == 1


class SometimesFull(FileStore):
    """A folder on a disk that is full for the first attempts at writing."""

    def __init__(self, folder: Path, *, failures: int) -> None:
        super().__init__(None, folder=folder)
        self._failures = failures

    def put(self, name: str, content: bytes, *, media_type: str = "") -> None:
        if self._failures:
            self._failures -= 1
            raise JobStoreUnavailable("The disk of the finished files is full.")
        super().put(name, content)


def test_a_piece_that_cannot_be_stored_yet_is_not_made_again(bench: Bench, tmp_path: Path) -> None:
    engine = FakeEngine()
    store = SometimesFull(tmp_path / "files", failures=1)

    outcome = bench.pieces(engine, store).attempt(bench.submit(), 1)

    assert outcome["status"] == "succeeded"
    assert len(engine.briefs) == 1
    assert len(bench.files()) == 1


def test_the_row_hears_of_progress_at_the_pace_of_who_writes_it(bench: Bench) -> None:
    job_id = bench.submit()
    seen: list[Job] = []

    class Chatty(FakeEngine):
        def generate(
            self, brief: Brief, *, deadline: Deadline, report: Report = ignore, resume: str | None = None
        ) -> Take:
            for number in range(100):
                report(Progress(f"Step {number}", number / 100, queue_position=100 - number))
            seen.append(bench.job(job_id))
            pieces.attend()
            pieces.attend()
            seen.append(bench.job(job_id))
            return Take(TONE, decode_s=0.0)

    pieces = bench.pieces(Chatty())
    pieces.attempt(job_id, 1)

    before, after = seen
    assert before.message == COMPOSING
    assert (after.message, after.progress, after.queue_position) == ("Step 99", 0.99, 1)
    assert after.change == before.change + 1


# ---------------------------------------------------------------------- whole jobs


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    shop.executor.start()
    # Tests ask DBOS itself, which refuses until the executor's thread has launched it.
    wait_for(lambda: shop.executor.health() is None)
    yield shop
    shop.executor.stop()
    shop.executor.join(20)
    shop.parts.database.close()


def test_a_submitted_job_is_made(shop: Shop) -> None:
    job_id = shop.submit()

    job = shop.end(job_id)

    assert job.status == "succeeded"
    assert [change.status for change in shop.parts.jobs.changes(job_id, 0)][:2] == ["queued", "running"]


def test_people_see_that_it_is_tried_again(shop: Shop) -> None:
    job_id = shop.submit(UpstreamError(), TONE)

    job = shop.end(job_id)

    assert (job.status, job.attempt) == ("succeeded", 2)
    told = [change.message for change in shop.parts.jobs.changes(job_id, 0)]
    assert "The music engine had a problem, retrying… (2/3)" in told


def test_a_job_that_cannot_be_made_fails_with_its_reason(shop: Shop) -> None:
    job = shop.end(shop.submit(PromptRefused("Too loud.")))

    assert job.status == "failed"
    assert job.error is not None
    assert (job.error["code"], job.error["detail"]) == ("prompt-refused", "Too loud.")


def test_a_running_job_is_cancelled_within_two_seconds(shop: Shop) -> None:
    over = threading.Event()
    started = threading.Event()

    def work() -> None:
        started.set()
        attempt = shop.script.engines[prompt].deadlines[-1]
        while not attempt.is_cancelled and not over.wait(0.05):
            pass

    job_id = shop.submit(while_working=work)
    prompt = shop.job(job_id).brief.prompt
    try:
        assert started.wait(15)
        asked_s = time.monotonic()
        shop.parts.jobs.cancel(job_id)
        job = shop.end(job_id)
        took_s = time.monotonic() - asked_s
    finally:
        over.set()

    assert job.status == "cancelled"
    assert took_s < 2
    assert prompt in shop.script.cancelled


def test_a_job_that_waits_for_its_next_attempt_can_be_cancelled(shop: Shop) -> None:
    job_id = shop.submit(UpstreamUnavailable(retry_after_s=500.0))
    wait_for(lambda: shop.job(job_id).attempt == 2)

    asked_s = time.monotonic()
    shop.parts.jobs.cancel(job_id)

    assert shop.end(job_id).status == "cancelled"
    assert time.monotonic() - asked_s < 2


def test_a_transaction_that_is_rolled_back_leaves_neither_job_nor_workflow(shop: Shop) -> None:
    with shop.writing() as connection:
        job_id = _submit_in(connection, shop)
        connection.rollback()

    assert shop.parts.records.get(job_id) is None
    assert _workflow_status(job_id) is None


def test_what_was_given_up_after_too_many_crashes_has_failed(shop: Shop) -> None:
    with shop.writing() as connection:
        job_id = _submit_in(connection, shop)
        _tamper(connection, job_id, recovery_attempts=MAX_DISPATCHES + 2)
    wait_for(lambda: _workflow_status(job_id) == "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

    shop.caretaker().look_around()

    job = shop.job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "internal-error"
    assert _workflow_status(job_id) is None


def test_what_stands_still_is_resumed_at_the_second_look(shop: Shop) -> None:
    with shop.writing() as connection:
        job_id = _submit_in(connection, shop)
        _tamper(connection, job_id, status="PENDING", executor_id=executors.EMBEDDED_ID)
    caretaker = shop.caretaker()

    caretaker.look_around()
    assert _workflow_status(job_id) == "PENDING"
    caretaker.look_around()

    assert shop.end(job_id).status == "succeeded"


def test_workflows_that_are_over_are_forgotten(shop: Shop) -> None:
    job_id = shop.submit()
    shop.end(job_id)
    wait_for(lambda: _workflow_status(job_id) == "SUCCESS")

    shop.caretaker().look_around()

    assert _workflow_status(job_id) is None
    assert shop.job(job_id).status == "succeeded"


def _submit_in(connection: sa.Connection, shop: Shop) -> str:
    """Submit a job whose workflow nobody sees before the transaction ends."""
    prompt = f"tampered {time.monotonic_ns()}"
    shop.script.engines[prompt] = FakeEngine()
    job = Job.queued(
        JobRequest(Brief(prompt, 5.0, seed=1)),
        owner="",
        engine="script",
        max_attempts=3,
        request_id="r",
        now_s=time.time(),
        ttl_s=100,
    )
    shop.parts.records.insert(connection, job)
    shop.parts.jobs._queue.enqueue(connection, job.id)
    return job.id


def _tamper(connection: sa.Connection, job_id: str, **values: object) -> None:
    columns = ", ".join(f"{name} = :{name}" for name in values)
    statement = sa.text(f"UPDATE workflow_status SET {columns} WHERE workflow_uuid = :id")  # noqa: S608 - names of ours
    assert connection.execute(statement, {"id": job_id, **values}).rowcount == 1


def _workflow_status(job_id: str) -> str | None:
    status = DBOS.get_workflow_status(job_id)
    return status.status if status else None


def test_each_process_keeps_to_its_own_limit(shop: Shop) -> None:
    """DBOS reads the limit of all of them from one row."""
    with shop.writing() as connection:
        connection.execute(sa.text("UPDATE queues SET worker_concurrency = 99 WHERE name = :name"), {"name": QUEUE})

    queue = _get_dbos_instance()._sys_db.get_queue(QUEUE)

    assert queue is not None
    assert queue._worker_concurrency == shop.settings.job_workers


def test_the_private_parts_of_dbos_that_are_used_exist() -> None:
    """`dbos` is pinned to 3.4; whoever raises that learns here what to look at."""
    assert callable(DBOS._recover_pending_workflows)
    assert isinstance(_workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC, float)
    assert DBOSRegistry().get_internal_queue()._polling_interval_sec == DEFAULT_QUEUE_POLLING_INTERVAL_SEC
    client = DBOSClient(system_database_engine=sa.create_engine("sqlite://"), lazy=True)
    assert callable(client._sys_db.run_migrations)
    client.destroy()


def test_what_dbos_cannot_write_is_left_for_later_and_no_failure() -> None:
    with pytest.raises(workflow.Interrupted), workflow.never_failing():
        raise OperationalError("INSERT …", {}, Exception("canceling statement due to statement timeout"))


def test_a_queued_job_that_is_cancelled_is_in_the_queue_no_more(tmp_path: Path) -> None:
    """Whoever submits and cancels again and again must not fill the queue."""
    parts = open_parts(Settings.model_validate({"STUDIO_DATA_DIR": tmp_path, "STUDIO_MAX_QUEUED": 2}), engine_name="x")
    for number in range(5):
        request = JobRequest(Brief(f"rain {number}", 5.0, seed=1))
        parts.jobs.cancel(parts.jobs.submit(request, owner="", request_id="r").job.id)

    with parts.database.reading() as connection:
        statuses = connection.execute(sa.text("SELECT DISTINCT status FROM workflow_status")).scalars().all()
    assert statuses == ["CANCELLED"]
    parts.database.close()


def test_a_job_that_is_taken_back_just_when_it_begins_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    workflow.quieten()

    with caplog.at_level(logging.WARNING, logger="dbos"):
        for error in (DBOSAwaitedWorkflowCancelledError("an-id"), RuntimeError("another one")):
            logging.getLogger("dbos").error("Exception encountered in background workflow:", exc_info=error)

    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["another one"]


def test_what_is_told_of_training_runs_goes_in_time(shop: Shop) -> None:
    shop.parts.training.put("", "old", status="failed", error="x", config=None)
    with shop.writing() as connection:
        connection.execute(sa.text("UPDATE studio_training SET updated_at_s = 1 WHERE id = 'old'"))

    shop.caretaker().sweep()

    with shop.writing() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM studio_training WHERE id = 'old'")).scalar_one() == 0
