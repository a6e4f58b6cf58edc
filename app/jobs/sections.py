"""How songs and the jobs of their sections hang together in the database.

Whatever happens to a section is noted in its songs within the same transaction, so that no song is forgotten by a
process that dies in between: the section that ends last hands the song on to be joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from app.jobs.song import JOINING, MAKING_SECTIONS, so_far
from app.jobs.tables import IS_ACTIVE, JOBS, SECTIONS, change

_SONGS_OF: Final = (
    sa.select(SECTIONS.c.song_id).where(SECTIONS.c.job_id == sa.bindparam("job_id")).order_by(SECTIONS.c.song_id)
)
# The lock has two sections that end at the same moment look one after the other, so that one of them is the last.
# SQLite has no need of it: one transaction writes at a time.
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


def insert(connection: sa.Connection, song_id: str, job_ids: Sequence[str]) -> None:
    """Write down which jobs make the sections of a new song."""
    rows = [{"song_id": song_id, "number": number, "job_id": job_id} for number, job_id in enumerate(job_ids, 1)]
    connection.execute(sa.insert(SECTIONS), rows)


def note_start(connection: sa.Connection, job_id: str, *, now_s: float) -> None:
    """Note that a section is being made."""
    for song_id in connection.execute(_SONGS_OF, {"job_id": job_id}).scalars().all():
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


def note_end(connection: sa.Connection, job_id: str, *, now_s: float) -> list[str]:
    """Note that a section is over, and return the songs whose sections now all are."""
    songs = connection.execute(_SONGS_OF, {"job_id": job_id}).scalars().all()
    return [song_id for song_id in songs if _is_complete(connection, song_id, now_s)]


def _is_complete(connection: sa.Connection, song_id: str, now_s: float) -> bool:
    song = connection.execute(_LOCKED, {"id": song_id}).one_or_none()
    if song is None:
        return False
    standing = {row.status: row.jobs for row in connection.execute(_STANDINGS, {"id": song_id})}
    ready, of = standing.get("succeeded", 0), song.sections
    is_open = standing.get("queued", 0) + standing.get("running", 0) > 0
    if not song.cancel_requested:
        lost = standing.get("failed", 0) + standing.get("cancelled", 0)
        change(
            connection,
            song_id,
            IS_ACTIVE,
            now_s=now_s,
            status="running",
            message=so_far(ready, lost, of) if is_open or lost else JOINING,
            started_at_s=sa.func.coalesce(JOBS.c.started_at_s, now_s),
            progress=ready / (of + 1),
        )
    return not is_open
