"""What is told here about training runs that go on elsewhere, so that a failure can be asked about afterwards.

A run is a row that its caller writes and overwrites; the service itself trains nothing. Rows are kept for a while and
within bounds for each caller: whoever writes much pushes out rows of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from app.jobs.database import Database
from app.jobs.gate import Gate
from app.jobs.job import Status

MAX_RUNS: Final = 200
"""Runs that are kept for one caller; the ones that were written longest ago go first."""

MAX_BYTES: Final = 16 * 2**20
"""What one caller's runs may take together, likewise."""

_LOCK: Final = 0x57_0D_12
"""First key of the advisory locks on Postgres; the second one is the caller's name."""

TRAINING: Final = sa.Table(
    "studio_training",
    sa.MetaData(),
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("config", sa.Text),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("updated_at_s", sa.Double, nullable=False),
)


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A run as its caller has described it.

    Attributes:
        id: The caller's name for it.
        status: How it stands.
        error: What went wrong, from one line to a log, or None.
        config: Its settings, or None.
        updated_at_s: When it was written, in Unix seconds.
        expires_at_s: When it is deleted unless it is written again.
    """

    id: str
    status: Status
    error: str | None
    config: Mapping[str, object] | None
    updated_at_s: float
    expires_at_s: float


class TrainingRuns:
    """All questions about these runs. One object serves all threads.

    Every method raises `JobStoreUnavailable` when the database cannot be used right now; those that a
    request waits for also when too many others do (`Gate`).
    """

    def __init__(
        self,
        database: Database,
        *,
        ttl_s: float,
        gate: Gate | None = None,
        max_runs: int = MAX_RUNS,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            database: Where the runs are.
            ttl_s: Seconds that a run is kept after it was written.
            gate: Bounds how many requests are in the database at a time, or wait for it; one of its own by default.
            max_runs: Runs of one caller.
            max_bytes: Their texts together; one run must fit.
            clock: What time it is, in Unix seconds.
        """
        self._database = database
        self._ttl_s = ttl_s
        self._gate = gate or Gate()
        self._max_runs = max_runs
        self._max_bytes = max_bytes
        self._clock = clock
        self._insert = sqlite.insert if database.is_sqlite else postgresql.insert
        self._leaves_traces = False
        """Whether texts were written since the last sweep, which may have taken the place of others."""

    def put(
        self, owner: str, id: str, *, status: Status, error: str | None, config: Mapping[str, object] | None
    ) -> tuple[TrainingRun, bool]:
        """Write a run in the place of what was known of it.

        Args:
            owner: Name of the caller's API key, "" when there are none. Callers do not see each other's runs.
            id: The caller's name for the run.
            status: How it stands.
            error: Text that both databases can hold: without NUL and halves of surrogate pairs.
            config: JSON, without infinite numbers.

        Returns:
            The run, and whether there was none of that name.
        """
        told = None if config is None else json.dumps(config, separators=(",", ":"), allow_nan=False)
        with self._gate.passing(), self._database.writing() as connection:
            self._take_turns(connection, owner)
            now_s = self._clock()  # not before: who waited would write an older time than who came later
            values = {
                "status": status,
                "error": error,
                "config": told,
                "size_bytes": len((error or "").encode()) + len(told or ""),
                "updated_at_s": now_s,
            }
            is_new = connection.execute(self._kept(owner, id)).one_or_none() is None
            self._leaves_traces = True
            connection.execute(
                self._insert(TRAINING)
                .values(owner=owner, id=id, **values)
                .on_conflict_do_update(index_elements=["owner", "id"], set_=values)
            )
            self._make_room(connection, owner, id)
        return TrainingRun(id, status, error, config, now_s, now_s + self._ttl_s), is_new

    def get(self, owner: str, id: str) -> TrainingRun | None:
        """Return the run, or None when there is none of that caller, or none any more."""
        with self._gate.passing(), self._database.reading() as connection:
            row = connection.execute(self._kept(owner, id)).one_or_none()
        if row is None:
            return None
        config = None if row.config is None else json.loads(row.config)
        return TrainingRun(row.id, row.status, row.error, config, row.updated_at_s, row.updated_at_s + self._ttl_s)

    def sweep(self) -> int:
        """Delete the runs whose time is over, whoever's they are, and return how many. Any number may sweep."""
        with self._database.writing() as connection:
            gone = connection.execute(sa.delete(TRAINING).where(TRAINING.c.updated_at_s <= self._oldest_s())).rowcount
        if gone or self._leaves_traces:
            self._leaves_traces = False
            self._database.scrub()
        return gone

    def _kept(self, owner: str, id: str) -> sa.Select[Any]:
        return sa.select(TRAINING).where(
            TRAINING.c.owner == owner, TRAINING.c.id == id, TRAINING.c.updated_at_s > self._oldest_s()
        )

    def _oldest_s(self) -> float:
        return self._clock() - self._ttl_s

    def _take_turns(self, connection: sa.Connection, owner: str) -> None:
        """Wait until nobody else writes runs of that caller: two who make room would wait for each other's rows."""
        if not self._database.is_sqlite:  # there the transaction has the only write lock
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, sa.func.hashtext(owner))))

    def _make_room(self, connection: sa.Connection, owner: str, id: str) -> None:
        """Delete the caller's runs that were written longest ago, as many as are too many or too much; never `id`."""
        newest_first = (TRAINING.c.updated_at_s.desc(), TRAINING.c.id)
        ranked = (
            sa.select(
                TRAINING.c.id,
                sa.func.row_number().over(order_by=newest_first).label("place"),
                sa.func.sum(TRAINING.c.size_bytes).over(order_by=newest_first).label("bytes"),
            )
            .where(TRAINING.c.owner == owner)
            .subquery()
        )
        beyond = sa.select(ranked.c.id).where(
            ranked.c.id != id, (ranked.c.place > self._max_runs) | (ranked.c.bytes > self._max_bytes)
        )
        connection.execute(sa.delete(TRAINING).where(TRAINING.c.owner == owner, TRAINING.c.id.in_(beyond)))
