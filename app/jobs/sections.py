"""How songs and the jobs of their sections hang together in the database.

Whatever happens to a section is noted in its songs within the same transaction, so that no song is forgotten by a
process that dies in between: the section that ends hands the next ones on to be made, and the one that ends last the
song to be joined.

On Postgres whoever changes rows of both locks those of sections before that of their song. SQLite has no need of locks:
one transaction writes at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from app.jobs.job import waiting
from app.jobs.song import AT_A_TIME, JOINING, MAKING_SECTIONS, so_far
from app.jobs.tables import IS_ACTIVE, IS_FINAL, JOBS, SECTIONS, change

_IN_LINE: Final = JOBS.c.queue_position.is_not(None)

SONGS_OF: Final = (
    sa.select(SECTIONS.c.song_id).where(SECTIONS.c.job_id == sa.bindparam("job_id")).order_by(SECTIONS.c.song_id)
)
# The lock has two sections that end at the same moment look one after the other, so that one of them is the last.
_LOCKED: Final = (
    sa.select(JOBS.c.id, JOBS.c.sections, JOBS.c.cancel_requested)
    .where(JOBS.c.id == sa.bindparam("id"), IS_ACTIVE)
    .with_for_update()
)
_STANDINGS: Final = (
    sa.select(JOBS.c.status, sa.func.count().label("jobs"))
    .join(SECTIONS, SECTIONS.c.job_id == JOBS.c.id)
    .where(SECTIONS.c.song_id == sa.bindparam("id"))
    .group_by(JOBS.c.status)
)
_SECTION: Final = JOBS.alias("section")
_SECTION_OF_SONG: Final = sa.and_(SECTIONS.c.song_id == JOBS.c.id, SECTIONS.c.job_id == _SECTION.c.id)
_IS_OPEN: Final = sa.exists().where(_SECTION_OF_SONG, _SECTION.c.finished_at_s.is_(None))
_IS_MOVING: Final = sa.exists().where(
    _SECTION_OF_SONG,
    _SECTION.c.finished_at_s.is_(None),
    sa.or_(_SECTION.c.status == "running", _SECTION.c.queue_position.is_not(None)),
)
_SONGS: Final = sa.select(JOBS.c.id).where(IS_ACTIVE, JOBS.c.sections > 0).order_by(JOBS.c.id)
_NEXT: Final = (
    sa.select(JOBS.c.id)
    .join(SECTIONS, SECTIONS.c.job_id == JOBS.c.id)
    .where(SECTIONS.c.song_id == sa.bindparam("id"), IS_ACTIVE)
    .order_by(SECTIONS.c.number)
    .limit(AT_A_TIME)
)


def insert(connection: sa.Connection, song_id: str, job_ids: Sequence[str]) -> None:
    """Write down which jobs make the sections of a new song."""
    rows = [{"song_id": song_id, "number": number, "job_id": job_id} for number, job_id in enumerate(job_ids, 1)]
    connection.execute(sa.insert(SECTIONS), rows)


def songs_of(connection: sa.Connection, job_id: str) -> Sequence[str]:
    """Return the songs of which the job is a section."""
    return connection.execute(SONGS_OF, {"job_id": job_id}).scalars().all()


def note_start(connection: sa.Connection, job_id: str, *, now_s: float) -> None:
    """Note that a section is being made."""
    for song_id in songs_of(connection, job_id):
        change(
            connection,
            song_id,
            JOBS.c.status == "queued",
            now_s=now_s,
            status="running",
            message=MAKING_SECTIONS,
            attempt=1,
            started_at_s=now_s,
        )


def note_end(connection: sa.Connection, song_id: str, *, now_s: float) -> bool:
    """Note how the sections of a song stand, one of which is over; return whether it is to be joined now."""
    song = connection.execute(_LOCKED, {"id": song_id}).one_or_none()
    if song is None:
        return False
    standing = {row.status: row.jobs for row in connection.execute(_STANDINGS, {"id": song_id})}
    ready, of = standing.get("succeeded", 0), song.sections
    is_open = standing.get("queued", 0) + standing.get("running", 0) > 0
    if not song.cancel_requested:
        lost = of - ready - standing.get("queued", 0) - standing.get("running", 0)
        change(
            connection,
            song_id,
            IS_ACTIVE,
            now_s=now_s,
            status="running",
            message=so_far(ready, lost, of) if is_open or lost else JOINING,
            attempt=1,
            started_at_s=sa.func.coalesce(JOBS.c.started_at_s, now_s),
            progress=ready / (of + 1),
        )
    return not is_open


def complete(connection: sa.Connection) -> Sequence[str]:
    """Return the songs that are not over, and all of whose sections are."""
    return connection.execute(_SONGS.where(~_IS_OPEN)).scalars().all()


def stalled(connection: sa.Connection) -> Sequence[str]:
    """Return the songs of which sections are still to be made, and none is or waits for a slot."""
    return connection.execute(_SONGS.where(_IS_OPEN, ~_IS_MOVING)).scalars().all()


def put_in_line(connection: sa.Connection, song_id: str, *, now_s: float) -> list[str]:
    """Let the sections wait for a free slot whose turn it is, and return those that did not before."""
    nearest = connection.execute(_NEXT, {"id": song_id}).scalars().all()
    # Whoever holds one of them has not locked the song yet, and would wait for us while we wait for it. It is about
    # to end that section, and will then come here itself.
    held_back = sa.select(JOBS.c.id).where(JOBS.c.id.in_(nearest), JOBS.c.status == "queued", ~_IN_LINE)
    due = set(connection.execute(held_back.with_for_update(skip_locked=True)).scalars())
    for job_id in due:
        change(connection, job_id, now_s=now_s, message=waiting(0), queue_position=0)
    return [job_id for job_id in nearest if job_id in due]


def active(connection: sa.Connection, song_id: str) -> Sequence[str]:
    """Return the sections that are not over, and keep them so until the end of the transaction."""
    return _locked(connection, song_id, IS_ACTIVE)


def keep(connection: sa.Connection, song_id: str, *, until_s: float) -> None:
    """Keep the sections that are over for as long as their song."""
    over = _locked(connection, song_id, IS_FINAL)
    connection.execute(
        sa.update(JOBS).where(JOBS.c.id.in_(over), JOBS.c.expires_at_s < until_s).values(expires_at_s=until_s)
    )


def _locked(connection: sa.Connection, song_id: str, condition: sa.ColumnElement[bool]) -> Sequence[str]:
    query = sa.select(JOBS.c.id).join(SECTIONS, SECTIONS.c.job_id == JOBS.c.id)
    # In one order for everybody, or two who lock several would wait for each other.
    ordered = query.where(SECTIONS.c.song_id == song_id, condition).order_by(JOBS.c.id)
    return connection.execute(ordered.with_for_update(of=JOBS)).scalars().all()
