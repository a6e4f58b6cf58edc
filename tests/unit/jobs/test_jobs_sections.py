"""Songs in the database, on both kinds: whose turn it is, who is the last, and how long sections are kept."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa
from job_samples import TTL_S, TickingClock, enqueued, open_jobs, queued_job, result_of

from app.engines.engine import Brief
from app.errors import UpstreamTimeout, problem
from app.jobs import Jobs
from app.jobs.database import Database
from app.jobs.job import COMPOSING, Job
from app.jobs.records import Records
from app.jobs.song import AT_A_TIME, MAX_SECTIONS, Section, SongRequest
from app.jobs.tables import JOBS
from app.logs import Scrubber
from app.store import FileStore

THREADS: Final = 12
ERROR: Final = problem(UpstreamTimeout(), request_id="r", scrub=Scrubber())


def song_of(sections: int) -> SongRequest:
    return SongRequest(
        tuple(Section(f"Part {number}", Brief("rain", 5.0, seed=number)) for number in range(sections)), seed=1
    )


@pytest.fixture
def jobs(database: Database, clock: TickingClock, tmp_path: Path) -> Jobs:
    return open_jobs(database, FileStore(None, folder=tmp_path / "files"), clock=clock)


Submit = Callable[..., tuple[Job, list[str]]]


@pytest.fixture
def submit(jobs: Jobs, database: Database) -> Submit:
    """Return what submits a song of so many sections, and returns it with the ids of their jobs."""

    def submit(sections: int, *, made: dict[int, str] | None = None) -> tuple[Job, list[str]]:
        song = jobs.submit_song(song_of(sections), owner="", request_id="r", made=made).job
        return song, [job.id for job in jobs.sections(song.id).values()]

    return submit


def make(records: Records, job_id: str) -> None:
    assert records.start(job_id, 1, COMPOSING)
    job = records.get(job_id)
    assert job
    assert records.succeed(job_id, result_of(job))


# ---------------------------------------------------------------------- turns


def test_a_song_has_only_some_of_its_sections_in_the_queue(
    submit: Submit, records: Records, database: Database
) -> None:
    song, ids = submit(AT_A_TIME + 2)

    assert set(enqueued(database)) == set(ids[:AT_A_TIME])
    make(records, ids[1])
    assert set(enqueued(database)) == set(ids[: AT_A_TIME + 1])
    make(records, ids[0])
    assert set(enqueued(database)) == set(ids)
    for job_id in ids[2:]:
        make(records, job_id)
    assert set(enqueued(database)) == {*ids, song.id}


def test_who_comes_after_a_long_song_need_not_wait_for_all_of_it(
    submit: Submit, records: Records, clock: TickingClock
) -> None:
    _, ids = submit(MAX_SECTIONS)
    piece = queued_job(records, clock)

    waiting, held_back = records.get(piece.id), records.get(ids[-1])

    assert waiting
    assert waiting.queue_position == AT_A_TIME
    assert held_back
    assert (held_back.queue_position, held_back.message) == (None, "Waiting for its turn in the song")


def test_sections_that_wait_for_their_turn_count_as_waiting_jobs_and_not_as_a_queue_that_is_stuck(
    submit: Submit, records: Records, clock: TickingClock
) -> None:
    _, ids = submit(AT_A_TIME + 1)

    with records.writing() as connection:
        assert records.queued(connection, at_most=100) == AT_A_TIME + 1
    for job_id in ids[:AT_A_TIME]:
        make(records, job_id)
    assert records.census().queue_age_s == 0


def test_a_section_that_fails_or_is_cancelled_makes_room_for_the_next(
    submit: Submit, records: Records, database: Database
) -> None:
    _, ids = submit(AT_A_TIME + 2)

    records.start(ids[0], 1, COMPOSING)
    records.fail(ids[0], ERROR, retryable=True, message="x")
    records.request_cancel(ids[1])

    assert set(enqueued(database)) == set(ids)


# ---------------------------------------------------------------------- the last one


def test_of_sections_that_end_at_the_same_moment_one_is_the_last(
    submit: Submit, records: Records, database: Database
) -> None:
    """The queue of these tests refuses whatever is put into it twice."""
    songs = [submit(MAX_SECTIONS) for _ in range(2)]
    of_all = [job_id for _, ids in songs for job_id in ids]
    random.Random(1).shuffle(of_all)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda job_id: make(records, job_id), of_all))

    assert {song.id for song, _ in songs} <= set(enqueued(database))
    for song, _ in songs:
        told = records.changes(song.id, 0)
        assert told[-1].message == "The sections are being joined…"
        assert [change.message for change in told[2:-1]] == [f"{n} of 30 sections are ready" for n in range(1, 30)]


def test_cancelling_while_sections_end_leaves_nothing_open(submit: Submit, records: Records, jobs: Jobs) -> None:
    """And nobody waits for a lock of somebody who waits for one of theirs."""
    songs = [submit(3 * AT_A_TIME) for _ in range(2)]

    def cancel(job_id: str) -> None:
        records.request_cancel(job_id)

    def work(job_id: str) -> None:
        if records.start(job_id, 1, COMPOSING):
            job = records.get(job_id)
            assert job
            records.succeed(job_id, result_of(job))

    of_all = [job_id for _, ids in songs for job_id in ids]
    with ThreadPoolExecutor(THREADS) as pool:
        acts = [pool.submit(work, job_id) for job_id in of_all]
        acts += [pool.submit(cancel, song.id) for song, _ in songs]
        acts += [pool.submit(cancel, job_id) for job_id in of_all[::3]]
        for act in acts:
            act.result()

    for song, ids in songs:
        assert {job.status for job in jobs.sections(song.id).values()} <= {"succeeded", "cancelled"}
        assert len(jobs.sections(song.id)) == len(ids)


def test_a_song_and_its_sections_are_cancelled_together(submit: Submit, records: Records, jobs: Jobs) -> None:
    song, ids = submit(AT_A_TIME + 2)
    records.start(ids[0], 1, COMPOSING)

    after = records.request_cancel(song.id)

    assert after
    assert after.message == "Cancelling…"
    assert [job.status for job in jobs.sections(song.id).values()] == ["running", *["cancelled"] * (AT_A_TIME + 1)]
    assert "could not be made" not in " ".join(change.message for change in records.changes(song.id, 0))


def test_a_song_whose_sections_were_all_made_before_is_joined_at_once(
    submit: Submit, records: Records, database: Database
) -> None:
    _, ids = submit(2)
    for job_id in ids:
        make(records, job_id)

    again, _ = submit(2, made=dict(enumerate(ids, start=1)))

    assert again.id in enqueued(database)
    standing = records.get(again.id)
    assert standing
    assert (standing.status, standing.message) == ("running", "The sections are being joined…")


# ---------------------------------------------------------------------- how long they are kept


def test_sections_are_kept_as_long_as_their_song(
    submit: Submit, records: Records, jobs: Jobs, clock: TickingClock
) -> None:
    song, ids = submit(2)
    make(records, ids[0])
    clock.now_s += TTL_S + 1

    jobs.sweep()
    make(records, ids[1])
    records.cancel(song.id)

    ended = jobs.get(song.id)
    assert [jobs.get(job_id).expires_at_s for job_id in ids] == [ended.expires_at_s] * 2
    clock.now_s += TTL_S + 1
    assert jobs.sweep() == 3
    assert records.gone([song.id, *ids]) == {song.id, *ids}


def test_a_section_of_two_songs_is_kept_for_the_later_one(
    submit: Submit, records: Records, jobs: Jobs, clock: TickingClock
) -> None:
    song, ids = submit(2)
    for job_id in ids:
        make(records, job_id)
    records.cancel(song.id)
    clock.now_s += TTL_S / 2
    again, _ = submit(2, made={1: ids[0], 2: ids[1]})
    clock.now_s += TTL_S / 2 + 1
    records.cancel(again.id)

    jobs.sweep()

    assert records.gone([song.id, *ids]) == {song.id}
    assert jobs.get(ids[0]).result


# ---------------------------------------------------------------------- processes that know of no songs


def end_unnoticed(database: Database, job_ids: list[str]) -> None:
    """End jobs as a process of an older release does, beside which newer ones run during a deployment."""
    with database.writing() as connection:
        over = {"status": "succeeded", "finished_at_s": 1.0, "queue_position": None}
        connection.execute(sa.update(JOBS).where(JOBS.c.id.in_(job_ids)).values(**over))


def test_sections_that_nobody_put_in_line_are_found(submit: Submit, records: Records, database: Database) -> None:
    _, ids = submit(AT_A_TIME + 1)
    end_unnoticed(database, ids[:AT_A_TIME])
    assert ids[AT_A_TIME] not in enqueued(database)

    records.resume_songs()

    assert ids[AT_A_TIME] in enqueued(database)


def test_a_song_that_nobody_handed_on_is_found(submit: Submit, records: Records, database: Database) -> None:
    song, ids = submit(2)
    end_unnoticed(database, ids)
    assert song.id not in enqueued(database)

    records.resume_songs()

    assert enqueued(database).count(song.id) == 1


def test_songs_that_go_on_are_left_alone(submit: Submit, records: Records, database: Database) -> None:
    _, ids = submit(AT_A_TIME + 2)
    make(records, ids[0])
    before = enqueued(database)

    records.resume_songs()

    assert enqueued(database) == before


def test_no_section_has_to_make_room_while_its_song_is_made(submit: Submit, records: Records) -> None:
    _, (first, second) = submit(2)
    make(records, first)
    assert records.oldest_files(10) == []

    make(records, second)
    assert records.oldest_files(10) == []
