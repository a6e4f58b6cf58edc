"""The tables of jobs, and how a row of theirs changes."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from app.jobs.job import FINAL

KEPT_CHANGES: Final = 200
"""Changes of one job that can be replayed; an older client sees the newest ones."""

_metadata = sa.MetaData()

JOBS: Final = sa.Table(
    "studio_jobs",
    _metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("username", sa.Text),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("progress", sa.Double),
    sa.Column("queue_position", sa.Integer),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("retryable", sa.Boolean, nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("created_at_s", sa.Double, nullable=False),
    sa.Column("started_at_s", sa.Double),
    sa.Column("finished_at_s", sa.Double),
    sa.Column("expires_at_s", sa.Double, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("result", sa.Text),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("ticket", sa.Text),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("change", sa.Integer, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    # How many sections it has, of a song; 0 of a piece.
    sa.Column("sections", sa.Integer, nullable=False),
)
SECTIONS: Final = sa.Table(
    "studio_song_sections",
    _metadata,
    sa.Column("song_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.Text, nullable=False),
)
CHANGES: Final = sa.Table(
    "studio_job_changes",
    _metadata,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("progress", sa.Double),
    sa.Column("queue_position", sa.Integer),
    sa.Column("attempt", sa.Integer, nullable=False),
)
GONE: Final = sa.Table(
    "studio_gone",
    _metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("gone_at_s", sa.Double, nullable=False),
)
EXECUTORS: Final = sa.Table(
    "studio_executors",
    _metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("started_at_s", sa.Double, nullable=False),
    sa.Column("beat_at_s", sa.Double, nullable=False),
)

IS_ACTIVE: Final = JOBS.c.status.in_(("queued", "running"))
IS_FINAL: Final = JOBS.c.status.in_(tuple(sorted(FINAL)))

_SHOWN: Final = ("status", "message", "progress", "queue_position", "attempt")
_KEEP_CHANGE: Final = sa.insert(CHANGES).from_select(
    ["job_id", "number", "at_s", *_SHOWN],
    sa.select(
        JOBS.c.id, JOBS.c.change, sa.bindparam("at_s", type_=sa.Double), *(JOBS.c[name] for name in _SHOWN)
    ).where(JOBS.c.id == sa.bindparam("id")),
)
_FORGET_CHANGES: Final = sa.delete(CHANGES).where(
    CHANGES.c.job_id == sa.bindparam("id"),
    CHANGES.c.number
    <= sa.select(JOBS.c.change - KEPT_CHANGES).where(JOBS.c.id == sa.bindparam("id")).scalar_subquery(),
)


def change(
    connection: sa.Connection, id: str, *conditions: sa.ColumnElement[bool], now_s: float, **values: object
) -> bool:
    """Change a job that still is what the conditions say, and keep that for its events; return whether it was."""
    changed = connection.execute(
        sa.update(JOBS).where(JOBS.c.id == id, *conditions).values(change=JOBS.c.change + 1, **values)
    )
    if changed.rowcount:
        keep_change(connection, id, now_s)
    return bool(changed.rowcount)


def keep_change(connection: sa.Connection, id: str, now_s: float) -> None:
    """Keep how the job stands now for its events."""
    connection.execute(_KEEP_CHANGE, {"id": id, "at_s": now_s})
    connection.execute(_FORGET_CHANGES, {"id": id})
