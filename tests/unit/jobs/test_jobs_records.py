"""Every question about jobs, on SQLite and on Postgres."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from job_samples import REQUEST, TTL_S, NotingQueue, TickingClock, queued_job, result_of

from app.errors import InvalidRequest
from app.jobs.database import Database, open_database
from app.jobs.job import CANCELLED, CANCELLING, COMPOSING, WAITING_FOR_ENGINE, Job, JobRequest
from app.jobs.records import GONE_KEPT_ROWS, GONE_KEPT_S, KeyTaken, Records
from app.jobs.tables import KEPT_CHANGES
from app.settings import Settings

ERROR: dict[str, object] = {"code": "upstream-error", "status": 502, "errors": []}


def found(records: Records, id: str) -> Job:
    job = records.get(id)
    assert job is not None
    return job


def running_job(records: Records, clock: TickingClock, **fields: str) -> Job:
    job = queued_job(records, clock, **fields)  # type: ignore[arg-type]
    assert records.start(job.id, 1, COMPOSING)
    return found(records, job.id)


def finished_job(records: Records, clock: TickingClock, *, size_bytes: int = 1_000) -> Job:
    job = running_job(records, clock)
    assert records.succeed(job.id, result_of(job, size_bytes=size_bytes))
    return found(records, job.id)


# ---------------------------------------------------------------------- a job's way


def test_a_job_is_read_as_it_was_written(records: Records, clock: TickingClock) -> None:
    job = queued_job(records, clock, owner="ann")

    assert records.get(job.id) == dataclasses.replace(job, queue_position=0)
    assert records.get("0" * 32) is None


def test_a_job_succeeds(records: Records, clock: TickingClock) -> None:
    job = running_job(records, clock)
    assert (job.status, job.message, job.attempt, job.started_at_s) == ("running", COMPOSING, 1, clock.now_s - 0.001)

    assert records.progress(job.id, message="Half done", progress=0.5, queue_position=2)
    half = found(records, job.id)
    assert (half.message, half.progress, half.queue_position) == ("Half done", 0.5, 2)

    assert records.succeed(job.id, result_of(job))
    done = found(records, job.id)
    assert (done.status, done.progress, done.retryable, done.queue_position) == ("succeeded", 1.0, False, None)
    assert done.result == result_of(job)
    assert done.finished_at_s is not None
    assert done.expires_at_s == done.finished_at_s + TTL_S


def test_a_job_fails(records: Records, clock: TickingClock) -> None:
    job = running_job(records, clock)

    assert records.fail(job.id, ERROR, retryable=True, message="Sorry.")

    failed = found(records, job.id)
    assert (failed.status, failed.message, failed.retryable, failed.error) == ("failed", "Sorry.", True, ERROR)


def test_what_is_final_never_changes(records: Records, clock: TickingClock) -> None:
    done = finished_job(records, clock)

    assert not records.start(done.id, 2, COMPOSING)
    assert not records.progress(done.id, message="x")
    assert not records.succeed(done.id, result_of(done, size_bytes=5))
    assert not records.fail(done.id, ERROR, retryable=True, message="x")
    assert not records.cancel(done.id)
    assert records.request_cancel(done.id) == done
    assert records.get(done.id) == done


def test_a_job_that_does_not_exist_has_no_way(records: Records) -> None:
    assert not records.start("0" * 32, 1, COMPOSING)
    assert records.request_cancel("0" * 32) is None
    assert not records.remove("0" * 32)


def test_the_first_start_is_when_a_job_started(records: Records, clock: TickingClock) -> None:
    job = running_job(records, clock)

    assert records.start(job.id, 2, "Again")

    assert found(records, job.id).started_at_s == job.started_at_s


def test_a_ticket_belongs_to_one_attempt(records: Records, clock: TickingClock) -> None:
    job = running_job(records, clock)
    assert records.progress(job.id, message="x", ticket='"t1"')
    assert records.progress(job.id, message="y")
    assert found(records, job.id).ticket == '"t1"'

    assert records.start(job.id, 1, COMPOSING)  # after a crash
    assert found(records, job.id).ticket == '"t1"'

    assert records.start(job.id, 2, "Again")
    assert found(records, job.id).ticket is None


def test_an_attempt_that_was_put_off_has_not_begun(records: Records, clock: TickingClock) -> None:
    job = running_job(records, clock)
    assert records.start(job.id, 2, COMPOSING)

    assert not records.put_off(job.id, 1, WAITING_FOR_ENGINE), "another attempt has the word by now"
    assert records.put_off(job.id, 2, WAITING_FOR_ENGINE)

    put_off = found(records, job.id)
    assert (put_off.attempt, put_off.message, put_off.status) == (1, WAITING_FOR_ENGINE, "running")
    assert records.start(job.id, 2, COMPOSING)
    records.request_cancel(job.id)
    assert not records.put_off(job.id, 2, WAITING_FOR_ENGINE)
    assert not records.put_off("0" * 32, 1, WAITING_FOR_ENGINE)


def test_an_attempt_of_another_engine_is_written_down_and_may_be_one_more(
    records: Records, clock: TickingClock
) -> None:
    job = running_job(records, clock)

    assert records.start(job.id, 3, COMPOSING)
    assert found(records, job.id).max_attempts == 3
    assert records.start(job.id, 4, COMPOSING, engine="composer")

    taken_over = found(records, job.id)
    assert (taken_over.engine, taken_over.attempt, taken_over.max_attempts) == ("composer", 4, 4)
    assert records.fail(job.id, ERROR, retryable=True, message="Sorry.", engine="fake")
    assert found(records, job.id).engine == "fake"


def test_who_made_a_piece_in_the_place_of_another_is_read_as_it_was_written(
    records: Records, clock: TickingClock
) -> None:
    job = running_job(records, clock)
    result = dataclasses.replace(result_of(job), engine="composer", fallback_reason="upstream-timeout")

    assert records.succeed(job.id, result)

    assert found(records, job.id).result == result


# ---------------------------------------------------------------------- cancelling


def test_a_queued_job_is_cancelled_at_once(records: Records, clock: TickingClock) -> None:
    job = queued_job(records, clock)

    cancelled = records.request_cancel(job.id)

    assert cancelled is not None
    assert (cancelled.status, cancelled.message) == ("cancelled", CANCELLED)
    assert not records.start(job.id, 1, COMPOSING)


def test_a_running_job_is_asked_to_end(records: Records, clock: TickingClock) -> None:
    job, other = running_job(records, clock), running_job(records, clock)

    asked = records.request_cancel(job.id)

    assert asked is not None
    assert (asked.status, asked.message, asked.cancel_requested) == ("running", CANCELLING, True)
    assert records.cancel_requested([job.id, other.id]) == {job.id}
    assert records.cancel_requested([]) == set()
    assert not records.progress(job.id, message="Half done")
    assert not records.start(job.id, 2, "Again")
    assert records.request_cancel(job.id) == asked

    assert records.cancel(job.id)
    assert found(records, job.id).status == "cancelled"
    assert records.cancel_requested([job.id]) == set()


@pytest.mark.parametrize(
    "finish",
    [
        lambda records, job: records.succeed(job.id, result_of(job)),
        lambda records, job: records.fail(job.id, ERROR, retryable=True, message="x"),
    ],
)
def test_who_was_told_that_a_job_is_cancelled_does_not_get_another_end(
    records: Records, clock: TickingClock, finish: Callable[[Records, Job], bool]
) -> None:
    job = running_job(records, clock)
    records.request_cancel(job.id)

    assert not finish(records, job)

    ended = found(records, job.id)
    assert (ended.status, ended.result, ended.error) == ("cancelled", None, None)


def test_of_a_cancellation_and_a_finish_at_once_one_wins(records: Records, clock: TickingClock) -> None:
    start = Barrier(3)

    def race(act: Callable[[], bool]) -> bool:
        start.wait()
        return act()

    with ThreadPoolExecutor(3) as threads:
        for _ in range(20):
            job = running_job(records, clock)
            ends = [
                threads.submit(race, lambda: records.succeed(job.id, result_of(job))),  # noqa: B023
                threads.submit(race, lambda: records.cancel(job.id)),  # noqa: B023
                threads.submit(race, lambda: records.fail(job.id, ERROR, retryable=True, message="x")),  # noqa: B023
            ]
            won = [
                status for status, end in zip(("succeeded", "cancelled", "failed"), ends, strict=True) if end.result()
            ]

            assert won == [found(records, job.id).status]
            assert [change.status for change in records.changes(job.id, 2)] == won


# ---------------------------------------------------------------------- changes


def test_each_visible_change_is_kept_in_order(records: Records, clock: TickingClock) -> None:
    job = running_job(records, clock)
    records.progress(job.id, message="Half done", progress=0.5)
    records.succeed(job.id, result_of(job))

    changes = records.changes(job.id, 0)

    assert [(each.number, each.status, each.progress) for each in changes] == [
        (1, "queued", None),
        (2, "running", None),
        (3, "running", 0.5),
        (4, "succeeded", 1.0),
    ]
    assert sorted(each.at_s for each in changes) == [each.at_s for each in changes]
    assert records.changes(job.id, 3) == changes[3:]
    assert found(records, job.id).as_of(changes[-1]) == found(records, job.id)


def test_what_did_not_happen_is_no_change(records: Records, clock: TickingClock) -> None:
    done = finished_job(records, clock)

    records.progress(done.id, message="x")
    records.cancel(done.id)

    assert records.changes(done.id, done.change) == []


def test_the_newest_changes_are_kept(records: Records, clock: TickingClock) -> None:
    job = running_job(records, clock)
    for number in range(KEPT_CHANGES + 5):
        records.progress(job.id, message=str(number))

    changes = records.changes(job.id, 0)

    assert len(changes) == KEPT_CHANGES
    assert changes[-1].number == found(records, job.id).change
    assert changes[-1].number - changes[0].number == KEPT_CHANGES - 1


# ---------------------------------------------------------------------- the queue


def test_a_job_knows_its_place_in_the_queue(records: Records, clock: TickingClock) -> None:
    jobs = [queued_job(records, clock) for _ in range(4)]
    assert [found(records, job.id).queue_position for job in jobs] == [0, 1, 2, 3]
    assert found(records, jobs[3].id).message == "Waiting for a free slot, 3 ahead"

    records.start(jobs[0].id, 1, COMPOSING)
    records.request_cancel(jobs[2].id)

    assert [found(records, job.id).queue_position for job in jobs] == [None, 0, None, 1]


def test_jobs_of_the_same_instant_have_different_places(records: Records) -> None:
    clock = TickingClock()
    jobs = []
    for _ in range(3):
        clock.now_s = 1_700_000_000.0
        jobs.append(queued_job(records, clock))

    assert sorted(found(records, job.id).queue_position or 0 for job in jobs) == [0, 1, 2]


def test_the_queue_is_counted_up_to_a_bound(records: Records, clock: TickingClock) -> None:
    running_job(records, clock)
    for _ in range(3):
        queued_job(records, clock)

    with records.writing() as connection:
        assert records.queued(connection, at_most=10) == 3
        assert records.queued(connection, at_most=2) == 2


# ---------------------------------------------------------------------- pages


def test_pages_follow_each_other_newest_first(records: Records, clock: TickingClock) -> None:
    jobs = [queued_job(records, clock, owner="ann").id for _ in range(7)]
    queued_job(records, clock, owner="bob")

    pages, cursor = [], None
    while True:
        page, cursor = records.page("ann", limit=3, cursor=cursor)
        pages.append([job.id for job in page])
        if cursor is None:
            break
        queued_job(records, clock, owner="ann")  # what is new in the meantime is on none of the following pages

    assert [each for page in pages for each in page] == jobs[::-1]
    assert [len(page) for page in pages] == [3, 3, 1]


def test_jobs_of_the_same_instant_are_all_listed(records: Records) -> None:
    clock = TickingClock()
    jobs = set()
    for _ in range(5):
        clock.now_s = 1_700_000_000.0
        jobs.add(queued_job(records, clock).id)

    first, cursor = records.page("", limit=2)
    second, end = records.page("", limit=3, cursor=cursor)

    assert {job.id for job in (*first, *second)} == jobs
    assert end is None


def test_a_list_can_be_narrowed(records: Records, clock: TickingClock) -> None:
    other = JobRequest(REQUEST.brief, username="other")
    one = queued_job(records, clock, owner="ann", request=other)
    two = running_job(records, clock, owner="ann")

    def listed(owner: str | None, **filters: str) -> list[str]:
        return [job.id for job in records.page(owner, **filters)[0]]  # type: ignore[arg-type]

    assert listed("ann") == [two.id, one.id]
    assert listed("ann", username="other") == [one.id]
    assert listed("ann", status="running") == [two.id]
    assert listed("ann", username="other", status="running") == []
    assert listed("bob") == []
    assert listed(None) == [two.id, one.id]


def test_what_has_expired_is_not_listed(records: Records, clock: TickingClock) -> None:
    done = finished_job(records, clock)
    clock.now_s = done.expires_at_s
    waiting = queued_job(records, clock)
    clock.now_s += 2 * TTL_S

    assert [job.id for job in records.page("")[0]] == [waiting.id]


def forged(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "ünïcode",
        "====",
        "A" * 100_000,
        forged("1700000000.0"),
        forged("nan " + "0" * 32),
        forged("inf " + "0" * 32),
        forged("1e5 " + "0" * 32),
        forged("-1.0 " + "0" * 32),
        forged("1700000000.0 " + "0" * 31 + "'"),
        forged("1700000000.0 " + "0" * 32 + " OR 1"),
        forged("١٧ " + "0" * 32),
    ],
)
def test_a_cursor_that_is_not_ours_is_refused(sqlite_settings: Settings, cursor: str) -> None:
    records = Records(open_database(sqlite_settings), ttl_s=TTL_S, queue=NotingQueue())

    with pytest.raises(InvalidRequest) as raised:
        records.page("", cursor=cursor)

    assert [each.field for each in raised.value.fields] == ["cursor"]


def test_a_forged_cursor_shows_nobody_elses_jobs(records: Records, clock: TickingClock) -> None:
    queued_job(records, clock, owner="ann")

    assert records.page("bob", cursor=forged("999999999999.0 " + "f" * 32)) == ([], None)


# ---------------------------------------------------------------------- idempotency keys


def test_a_key_finds_its_job(records: Records, clock: TickingClock) -> None:
    job = queued_job(records, clock, owner="ann", key="k", digest="d")

    known = records.by_key("ann", "k")

    assert known is not None
    assert (known[0].id, known[1]) == (job.id, "d")
    assert records.by_key("bob", "k") is None
    assert records.by_key("ann", "K") is None


def test_a_key_has_one_job_for_each_owner(records: Records, clock: TickingClock) -> None:
    queued_job(records, clock, owner="ann", key="k")

    with pytest.raises(KeyTaken):
        queued_job(records, clock, owner="ann", key="k")

    queued_job(records, clock, owner="bob", key="k")
    assert [len(records.page(owner)[0]) for owner in ("ann", "bob")] == [1, 1]


def test_jobs_without_a_key_do_not_collide(records: Records, clock: TickingClock) -> None:
    assert queued_job(records, clock).id != queued_job(records, clock).id


def test_a_key_is_free_again_when_its_job_has_expired(records: Records, clock: TickingClock) -> None:
    old = queued_job(records, clock, key="k")
    records.request_cancel(old.id)
    clock.now_s += TTL_S + 1

    assert records.by_key("", "k") is None
    new = queued_job(records, clock, key="k")

    known = records.by_key("", "k")
    assert known is not None
    assert known[0].id == new.id
    assert records.get(old.id) is not None


def test_a_key_stays_with_a_job_that_takes_long(records: Records, clock: TickingClock) -> None:
    job = running_job(records, clock, key="k")
    clock.now_s += 2 * TTL_S

    with pytest.raises(KeyTaken):
        queued_job(records, clock, key="k")

    known = records.by_key("", "k")
    assert known is not None
    assert known[0].id == job.id


# ---------------------------------------------------------------------- expiry


def test_a_finished_job_expires_and_an_unfinished_one_does_not(records: Records, clock: TickingClock) -> None:
    first, second = finished_job(records, clock), finished_job(records, clock)
    running_job(records, clock)
    queued_job(records, clock)
    assert records.expired(10) == []

    clock.now_s += TTL_S + 1

    assert [job.id for job in records.expired(10)] == [first.id, second.id]
    assert [job.id for job in records.expired(1)] == [first.id]


def test_a_removed_job_leaves_its_id_and_nothing_else(
    records: Records, clock: TickingClock, database: Database
) -> None:
    done = finished_job(records, clock)
    assert not records.gone([done.id])

    assert records.remove(done.id)

    assert records.get(done.id) is None
    assert records.changes(done.id, 0) == []
    assert records.gone([done.id, "0" * 32]) == {done.id}
    assert not records.remove(done.id)
    with database.reading() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM studio_job_changes")).scalar_one() == 0


def test_an_unfinished_job_is_not_removed(records: Records, clock: TickingClock) -> None:
    job = running_job(records, clock)

    assert not records.remove(job.id)

    assert found(records, job.id) == job
    assert not records.gone([job.id])


def test_gone_ids_are_forgotten_after_their_time(records: Records, clock: TickingClock) -> None:
    old = finished_job(records, clock)
    records.remove(old.id)
    clock.now_s += GONE_KEPT_S - 10
    young = finished_job(records, clock)
    records.remove(young.id)

    records.forget_gone()
    assert records.gone([old.id])

    clock.now_s += 20
    records.forget_gone()
    assert not records.gone([old.id])
    assert records.gone([young.id])


def test_gone_ids_are_forgotten_when_they_are_too_many(
    records: Records, clock: TickingClock, database: Database
) -> None:
    rows = """
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows)
        INSERT INTO studio_gone SELECT CAST(n AS TEXT), :now_s + n * 0.001 FROM numbers
    """
    with database.writing() as connection:
        connection.execute(sa.text(rows), {"rows": GONE_KEPT_ROWS + 3, "now_s": clock()})

    records.forget_gone()

    assert records.gone(["3", "4", str(GONE_KEPT_ROWS + 3)]) == {"4", str(GONE_KEPT_ROWS + 3)}


def test_the_size_of_all_files_is_known(records: Records, clock: TickingClock) -> None:
    assert records.total_size_bytes() == 0
    jobs = [finished_job(records, clock, size_bytes=2**40) for _ in range(3)]
    running_job(records, clock)
    failed = running_job(records, clock)
    records.fail(failed.id, ERROR, retryable=False, message="x")

    assert records.total_size_bytes() == 3 * 2**40
    assert [job.id for job in records.oldest_files(10)] == [job.id for job in jobs]

    records.remove(jobs[0].id)
    assert records.total_size_bytes() == 2 * 2**40
    assert [job.id for job in records.oldest_files(1)] == [jobs[1].id]


# ---------------------------------------------------------------------- speed


def plans_of(database: Database, ask: Callable[[], object]) -> list[str]:
    """Return how SQLite answers the questions that are asked, one line for each step."""
    asked: list[tuple[str, object]] = []

    def listen(connection: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    sa.event.listen(database.engine, "before_cursor_execute", listen)
    ask()
    sa.event.remove(database.engine, "before_cursor_execute", listen)
    with database.reading() as connection:
        return [
            row[3]
            for statement, parameters in asked
            if not statement.startswith("BEGIN")
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
        ]


def test_no_frequent_question_reads_all_jobs(sqlite_settings: Settings, clock: TickingClock) -> None:
    database = open_database(sqlite_settings)
    records = Records(database, ttl_s=TTL_S, queue=NotingQueue(), clock=clock)
    job = queued_job(records, clock, key="k")
    queued_job(records, clock)
    _, cursor = records.page("", limit=1)

    def ask() -> None:
        records.get(job.id)
        records.gone([job.id])
        records.by_key("", "k")
        records.page("", limit=1, cursor=cursor)
        records.page("", status="running")
        records.changes(job.id, 0)
        records.cancel_requested([job.id])
        records.expired(10)
        records.start(job.id, 1, COMPOSING)
        records.progress(job.id, message="x")
        with records.writing() as connection:
            records.queued(connection, at_most=10)

    plan = plans_of(database, ask)

    assert plan
    assert not [step for step in plan if step.startswith(("SCAN studio", "USE TEMP B-TREE"))]
    assert any("studio_jobs_by_owner" in step for step in plan)
    assert any("SEARCH earlier USING COVERING INDEX studio_jobs_by_status" in step for step in plan)
