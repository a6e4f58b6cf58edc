"""Jobs whose engine cannot make them: who takes over, what waits for the engine, and what crashes do to that."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import NOTES, TONE, FakeEngine, Outcome

from app.audio import AUDIO_FORMATS
from app.breaker import LONGEST_OPEN_S, Breaker, Limits, Local
from app.engines.engine import Abilities, Brief
from app.errors import (
    EngineError,
    JobStoreUnavailable,
    PromptRefused,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.jobs.executor import Embedded, Executor
from app.jobs.job import FAILED, SUCCEEDED, WAITING_FOR_ENGINE, Job, JobRequest, Result, taking_over
from app.jobs.parts import LateParts, Parts, open_parts
from app.jobs.workflow import MAX_WAIT_S, Interrupted, Pieces
from app.jobs.workflow import Outcome as Came
from app.logs import Scrubber
from app.retry import Deadline
from app.settings import Settings
from app.store import FileStore
from app.studio import LONGEST_RESERVE_S, Studio

DEADLINE_S = 300.0
TIMEOUT_S = 120.0
OPEN_S = 20.0
BRIEF = Brief("rain", 5.0, seed=7)


def named(name: str, *outcomes: Outcome, **fields: object) -> FakeEngine:
    engine = FakeEngine(*outcomes, **fields)  # type: ignore[arg-type]
    engine.name = name
    return engine


class Line:
    """The steps of one job, called as DBOS would call them, by an executor with these engines."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.now_s = time.time()
        self.breaker = Breaker("first", limits=Limits(failures=1, open_s=OPEN_S), kept=Local(lambda: self.now_s))
        self.job_id = ""

    def submit(self, brief: Brief = BRIEF) -> None:
        self.job_id = self.parts.jobs.submit(JobRequest(brief), owner="", request_id="r-1").job.id

    def pieces(
        self,
        *engines: FakeEngine,
        first: str | None = None,
        with_breaker: bool = False,
        store: FileStore | None = None,
    ) -> Pieces:
        return Pieces(
            self.parts.records,
            store or self.parts.store,
            Studio(engines, first=first, max_active=1, breakers={"first": self.breaker} if with_breaker else {}),
            timeout_s=TIMEOUT_S,
            deadline_s=DEADLINE_S,
            scrub=Scrubber(["a secret"]),
            clock=lambda: self.now_s,
        )

    def run(self, pieces: Pieces, number: int = 1, after: Came | None = None) -> list[Came]:
        """Take all steps from that attempt on; time passes where a step must wait. Return what they came to."""
        self._pass_until(after)
        came = [pieces.attempt(self.job_id, number, _through_json(after))]
        while came[-1]["status"] == "retry":
            number = came[-1].get("number", number + 1)
            self._pass_until(came[-1])
            came.append(pieces.attempt(self.job_id, number, _through_json(came[-1])))
        pieces.finish(self.job_id, came[-1])
        return came

    def _pass_until(self, after: Came | None) -> None:
        self.now_s = max(self.now_s, after.get("retry_at_s", 0.0) if after else 0.0)

    @property
    def job(self) -> Job:
        return self.parts.jobs.get(self.job_id)

    @property
    def messages(self) -> list[str]:
        return [change.message for change in self.parts.jobs.changes(self.job_id, 0)]


def _through_json(outcome: Came | None) -> Came | None:
    """Return what DBOS gives back of what it has kept."""
    kept: Came | None = json.loads(json.dumps(outcome))
    return kept


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    parts = open_parts(Settings.model_validate({"STUDIO_DATA_DIR": tmp_path}), engine_name="first")
    line = Line(parts)
    line.submit()
    yield line
    parts.database.close()


# ---------------------------------------------------------------------- who takes over


def test_after_its_last_attempt_another_engine_takes_over_and_everybody_is_told(line: Line) -> None:
    first, composer = named("first", UpstreamError(), UpstreamError(), UpstreamTimeout()), named("composer")

    line.run(line.pieces(first, composer))

    job = line.job
    assert len(first.briefs) == 3
    assert (job.status, job.message, job.engine, job.attempt, job.max_attempts) == (
        "succeeded",
        SUCCEEDED,
        "composer",
        4,
        4,
    )
    assert job.result is not None
    assert (job.result.engine, job.result.fallback_reason) == ("composer", "upstream-timeout")
    assert "The music engine is not available, the built-in composer takes over…" in line.messages


def test_whoever_takes_over_does_so_at_once(line: Line) -> None:
    came = line.run(line.pieces(named("first", UpstreamRejected()), named("second")))

    assert came[0]["retry_at_s"] == line.now_s
    assert (line.job.engine, line.job.attempt, line.job.max_attempts) == ("second", 2, 3)


def test_when_nobody_can_make_it_the_error_of_the_first_engine_is_told(line: Line) -> None:
    first, second, third = named("first", UpstreamTimeout("One.")), named("second", UpstreamError()), named("third")
    third._outcomes = [UpstreamRejected("Three.")]

    line.run(line.pieces(first, second, third))

    job = line.job
    assert [len(each.briefs) for each in (first, second, third)] == [3, 1, 1]
    assert (job.status, job.engine, job.message, job.retryable) == ("failed", "first", FAILED, True)
    assert job.error is not None
    assert (job.error["code"], job.error["detail"], job.error["attempts"]) == ("upstream-timeout", "One.", 3)


@pytest.mark.parametrize("error", [PromptRefused("Too loud."), ZeroDivisionError()], ids=["refused", "mistake"])
def test_nobody_takes_over_from_a_refusal_or_a_mistake_of_ours(line: Line, error: Exception) -> None:
    second = named("second")

    line.run(line.pieces(named("first", error), second))

    assert (line.job.status, line.job.engine) == ("failed", "first")
    assert second.briefs == []


def test_whoever_takes_over_has_one_attempt(line: Line) -> None:
    second = named("second", UpstreamError())

    line.run(line.pieces(named("first", UpstreamRejected()), second))

    assert len(second.briefs) == 1
    assert (line.job.status, line.job.attempt) == ("failed", 2)


def test_what_a_stand_in_refuses_is_refused(line: Line) -> None:
    line.run(line.pieces(named("first", UpstreamRejected()), named("second", PromptRefused("Too loud."))))

    assert line.job.error is not None
    assert (line.job.error["code"], line.job.engine) == ("prompt-refused", "second")


def test_who_cannot_deliver_the_format_does_not_take_over(line: Line) -> None:
    with_notes = Abilities(formats=(*AUDIO_FORMATS, "mid"))
    line.submit(replace(BRIEF, format="mid"))
    second, third = named("second"), named("third", NOTES, abilities=with_notes)

    line.run(line.pieces(named("first", UpstreamRejected(), abilities=with_notes), second, third))

    assert line.job.engine == "third"
    assert second.briefs == []


def test_a_store_that_cannot_be_used_is_nothing_that_another_engine_mends(line: Line, tmp_path: Path) -> None:
    class Full(FileStore):
        def put(self, name: str, content: bytes, *, media_type: str = "") -> None:
            raise JobStoreUnavailable("The disk of the finished files is full.")

    second = named("second")
    pieces = line.pieces(named("first"), second, store=Full(None, folder=tmp_path / "full"))
    pieces._deadline_s = 0.2

    came = line.run(pieces)

    assert [each["status"] for each in came] == ["failed"]
    assert second.briefs == []


def test_an_engine_that_is_not_configured_is_stood_in_for_with_all_attempts(line: Line) -> None:
    second = named("second", UpstreamError(), UpstreamError(), TONE)

    line.run(line.pieces(second, first="first"))

    job = line.job
    assert (job.status, job.engine, job.attempt) == ("succeeded", "second", 3)
    assert job.result is not None
    assert (job.result.engine, job.result.fallback_reason) == ("second", "engine-not-configured")


def test_an_error_of_who_stands_in_for_an_engine_that_is_missing_is_its_own(line: Line) -> None:
    line.run(line.pieces(named("second", UpstreamRejected()), first="first"))

    assert (line.job.status, line.job.engine) == ("failed", "second")


# ---------------------------------------------------------------------- time


def test_the_first_engine_leaves_time_for_the_next(line: Line) -> None:
    first, second = named("first", UpstreamTimeout()), named("second")

    def hang() -> None:
        line.now_s += first.deadlines[-1].remaining_s()

    first._while_working = hang
    line.run(line.pieces(first, second))

    assert len(first.deadlines) == 3
    assert line.job.engine == "second"
    # In the time of the test's clock, which stood still but for those waits.
    left_s = second.deadlines[0].at_s - time.monotonic()
    assert LONGEST_RESERVE_S - 3 < left_s < LONGEST_RESERVE_S + 3


# ---------------------------------------------------------------------- crashes


def test_a_crash_while_another_engine_is_at_work_leaves_the_work_to_that_engine(line: Line) -> None:
    """The process dies in the stand-in's attempt; another one runs that step again, with what the one before left."""
    first = named("first", UpstreamRejected(), ticket='"of the first"')
    second = named("second", KeyboardInterrupt(), TONE, ticket='"of the second"')
    pieces = line.pieces(first, second)
    left = pieces.attempt(line.job_id, 1)
    with pytest.raises(KeyboardInterrupt):
        pieces.attempt(line.job_id, 2, _through_json(left))

    line.run(line.pieces(first, second), 2, left)

    assert len(first.briefs) == 1
    assert second.resumed == [None, '"of the second"']
    assert line.job.engine == "second"


def test_a_stand_in_that_is_configured_no_more_leaves_the_job_to_the_first_engine(line: Line) -> None:
    left = line.pieces(named("first", UpstreamRejected()), named("second")).attempt(line.job_id, 1)

    line.run(line.pieces(named("first")), 2, left)

    assert line.job.status == "succeeded"
    assert line.job.result is not None
    assert line.job.result.fallback_reason is None


def test_what_an_earlier_release_left_of_an_attempt_is_gone_on_with(line: Line) -> None:
    old: Came = {"status": "retry", "retry_at_s": line.now_s, "until_s": line.now_s + 100}
    first = named("first", UpstreamError(), TONE)
    pieces = line.pieces(first)
    pieces.attempt(line.job_id, 1)

    line.run(pieces, 2, old)

    assert (line.job.status, line.job.attempt) == ("succeeded", 2)


# ---------------------------------------------------------------------- the breaker


def down(line: Line, *, for_s: float = OPEN_S) -> None:
    """Have the breaker open now."""
    with pytest.raises(EngineError), line.breaker.attempt(1):
        raise UpstreamUnavailable(retry_after_s=for_s)


def test_a_job_waits_for_the_breaker_which_costs_no_attempt(line: Line) -> None:
    down(line)
    first = named("first")

    came = line.run(line.pieces(first, with_breaker=True))

    assert [each["status"] for each in came] == ["retry", "succeeded"]
    assert came[0]["retry_at_s"] - came[0]["until_s"] + DEADLINE_S == pytest.approx(OPEN_S, abs=3)
    assert (line.job.attempt, line.job.max_attempts) == (1, 3)
    assert len(first.briefs) == 1
    assert WAITING_FOR_ENGINE in line.messages


def test_a_job_outlives_an_outage_that_is_longer_than_all_its_attempts_would_be(line: Line) -> None:
    started_s = line.now_s

    def work() -> None:
        if line.now_s < started_s + DEADLINE_S / 3:
            raise UpstreamUnavailable

    first = named("first", while_working=work)
    pieces = line.pieces(first, with_breaker=True)
    waiting_for_others = Breaker("first", limits=Limits(1, OPEN_S), kept=line.breaker._kept)
    pieces.attempt(line.job_id, 1)
    while line.now_s < started_s + DEADLINE_S / 3:  # other jobs make the probes
        line.now_s += waiting_for_others.outlook().blocked_s + 0.001
        with pytest.raises(UpstreamUnavailable), waiting_for_others.attempt(1):
            raise UpstreamUnavailable
        refused = pieces.attempt(line.job_id, 2, {"status": "retry", "until_s": started_s + DEADLINE_S})
        assert (refused["status"], refused["number"]) == ("retry", 2)
        assert line.job.attempt == 1

    line.run(pieces, 2, refused)

    assert (line.job.status, line.job.attempt) == ("succeeded", 2)
    assert len(first.briefs) == 2


def test_the_attempt_that_opens_the_breaker_is_repeated_when_that_is_due(line: Line) -> None:
    first = named("first", UpstreamError(), TONE)

    came = line.run(line.pieces(first, with_breaker=True))

    assert came[0]["retry_at_s"] - came[0]["until_s"] + DEADLINE_S == pytest.approx(OPEN_S, abs=3)
    assert (line.job.status, line.job.attempt) == ("succeeded", 2)


def test_a_breaker_that_stays_open_beyond_the_jobs_time_ends_it(line: Line) -> None:
    pieces = line.pieces(named("first"), with_breaker=True)
    down(line, for_s=100)
    left = pieces.attempt(line.job_id, 1)
    line.now_s += DEADLINE_S - 10
    down_again = line.breaker
    with pytest.raises(UpstreamUnavailable), down_again.attempt(1):
        raise UpstreamUnavailable

    line.run(pieces, 1, {**left, "retry_at_s": line.now_s})

    job = line.job
    assert (job.status, job.attempt, job.retryable) == ("failed", 0, True)
    assert job.error is not None
    assert (job.error["code"], job.error["attempts"]) == ("upstream-unavailable", 0)


def test_waiting_for_the_breaker_does_not_lengthen_the_jobs_time(line: Line) -> None:
    """An attempt that is made twice because of a crash does; this one was not made at all."""
    pieces = line.pieces(named("first"), with_breaker=True)
    down(line, for_s=100)

    first = pieces.attempt(line.job_id, 1)
    line.now_s += 50
    second = pieces.attempt(line.job_id, 1, {**first, "retry_at_s": line.now_s})

    assert second["until_s"] == first["until_s"]


def test_with_somebody_to_take_over_nobody_waits_for_the_breaker(line: Line) -> None:
    down(line)
    first = named("first")
    before_s = line.now_s

    came = line.run(line.pieces(first, named("second"), with_breaker=True))

    assert line.now_s == before_s
    assert len(came) == 2
    assert first.briefs == []
    job = line.job
    assert (job.status, job.engine, job.attempt, job.max_attempts) == ("succeeded", "second", 1, 3)
    assert job.result is not None
    assert job.result.fallback_reason == "upstream-unavailable"
    assert taking_over("second") in line.messages


def test_a_wait_for_the_breaker_is_shorter_than_what_ends_a_job() -> None:
    assert LONGEST_OPEN_S < MAX_WAIT_S


# ---------------------------------------------------------------------- what is written


def test_a_result_from_before_there_were_fallbacks_can_be_read() -> None:
    old = {
        "file": "x.wav",
        "sha256": "a" * 64,
        "size_bytes": 1,
        "media_type": "audio/wav",
        "duration_s": 1.0,
        "seed": 7,
        "remarks": ["No kazoo."],
    }

    result = Result.from_json(old)

    assert (result.engine, result.fallback_reason, result.remarks) == (None, None, ("No kazoo.",))
    assert result.to_json() == old, "and an earlier release can read this one"


def test_a_result_of_a_later_release_can_be_read() -> None:
    result = Result("x.wav", "a" * 64, 1, "audio/wav", 1.0, 7, ("No kazoo.",))
    written = {**result.to_json(), "engine": "composer", "fallback_reason": "upstream-error", "new": 1}

    result = Result.from_json(written)

    assert (result.engine, result.fallback_reason) == ("composer", "upstream-error")
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_the_sentences_for_people() -> None:
    assert taking_over("composer") == "The music engine is not available, the built-in composer takes over…"
    assert taking_over("other") == "The music engine is not available, another one takes over…"


# ---------------------------------------------------------------------- whole jobs


def made(folder: Path, studio: Studio, count: int) -> list[Job]:
    """Return what becomes of that many jobs, which a real executor runs."""
    late = LateParts(Settings.model_validate({"STUDIO_DATA_DIR": folder}), engine_name="first")
    executor = Embedded(Executor(Settings.model_validate({"STUDIO_DATA_DIR": folder}), studio, late))
    executor.start()
    try:
        jobs = late().jobs
        submitted = [jobs.submit(JobRequest(BRIEF), owner="", request_id="r").job.id for _ in range(count)]
        return [jobs.wait(job_id, Deadline.after(30)) for job_id in submitted]
    finally:
        executor.stop()
        executor.join(20)
        late().database.close()


def test_whole_jobs_are_taken_over(tmp_path: Path) -> None:
    breaker = Breaker("first", limits=Limits(failures=2, open_s=OPEN_S))
    engines = [named("first", UpstreamError()), named("composer")]

    jobs = made(tmp_path, Studio(engines, max_active=1, breakers={"first": breaker}), 3)

    assert [(job.status, job.engine) for job in jobs] == [("succeeded", "composer")] * 3
    assert {job.result.fallback_reason for job in jobs if job.result} <= {"upstream-error", "upstream-unavailable"}


def test_a_whole_job_waits_for_the_breaker_and_has_all_its_attempts_left(tmp_path: Path) -> None:
    breaker = Breaker("first", limits=Limits(failures=1, open_s=2.5))
    with pytest.raises(UpstreamError), breaker.attempt(1):
        raise UpstreamError

    (job,) = made(tmp_path, Studio([named("first")], max_active=1, breakers={"first": breaker}), 1)

    assert (job.status, job.attempt, job.max_attempts) == ("succeeded", 1, 3)


def test_the_upstreams_work_is_not_forgotten_while_the_breaker_is_open(line: Line) -> None:
    def crash() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        line.pieces(named("first", ticket="T-1", while_working=crash), with_breaker=True).attempt(line.job_id, 1)
    down(line)
    first = named("first")

    came = line.run(line.pieces(first, with_breaker=True))

    assert [each["status"] for each in came] == ["retry", "succeeded"]
    assert first.resumed == ["T-1"]


def test_a_stop_while_the_breaker_is_waited_for_interrupts_no_attempt(line: Line) -> None:
    down(line, for_s=100)
    after = line.pieces(named("first"), with_breaker=True).attempt(line.job_id, 1)
    stopped = line.pieces(named("first"), with_breaker=True)
    stopped.stop()
    with pytest.raises(Interrupted):
        stopped.attempt(line.job_id, 1, after)
    line.now_s = after["retry_at_s"]
    down(line)

    again = line.pieces(named("first"), with_breaker=True).attempt(line.job_id, 1, after)

    assert again["until_s"] == after["until_s"]
