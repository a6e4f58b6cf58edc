"""c: a thousand requests in flight, whose answers then come all at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final

from bench import programs
from bench.client import Result
from bench.contenders import CONTENDERS, DIRECT, STUDIO, Contender, NotAvailable, studio
from bench.report import Goal, Report, figure, median, percentile, table
from bench.samples import SLOW
from bench.site import Caller, open_site

REQUESTS: Final = 1_000
ROUNDS: Final = 3
LIMIT_S: Final = 180.0
ASKED_EVERY_S: Final = 0.05

RIVAL: Final = "FastAPI + httpx"
FOR_MANY_THREADS: Final = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
"""What docs/operations.md advises for so many."""

WALL_LIMIT: Final = 1.4
PEAK_LIMIT_MB: Final = 150.0
HEALTH_LIMIT_MS: Final = 250.0


@dataclass(frozen=True, slots=True)
class _Round:
    result: Result
    peak_bytes: int
    health_s: list[float]
    health_failures: int


def measure(*, quick: bool) -> Report:
    """Return errors, wall time, peak memory, and how long `/health` takes meanwhile."""
    rounds = 1 if quick else ROUNDS
    report = Report(
        "A thousand at once",
        f"{REQUESTS:,} callers ask at the same moment. The upstream holds all answers back until no request has "
        f"come in for {SLOW.delay_s:g} s, and then sends {len(SLOW.wav()) / 1e6:.1f} MB of WAV to each at once, as "
        f"base64 in JSON. Meanwhile `/health` is asked every {1000 * ASKED_EVERY_S:g} ms, on a new connection. "
        "The peak is that of the process that serves; gunicorn's master adds some 10 MB that it does not share. "
        f"Medians of {rounds} rounds, each with freshly started programs.",
    )
    contenders: dict[str, Contender] = {
        STUDIO: lambda place: studio(place, STUDIO_MAX_ACTIVE=str(REQUESTS), **FOR_MANY_THREADS),
        RIVAL: CONTENDERS[RIVAL],
    }
    found: dict[str, list[_Round]] = {DIRECT: [], STUDIO: [], RIVAL: []}
    for _ in range(rounds):
        with open_site() as site:
            found[DIRECT].append(_round(site.direct(SLOW), has_health=False))
        for name, contender in contenders.items():
            with open_site() as site:
                try:
                    caller = site.start(name, contender, SLOW)
                except NotAvailable as error:
                    report.notes = [f"{name} is left out: {error}"]
                    continue
                found[name].append(_round(caller, has_health=True))
    rows = [_row(name, each) for name, each in found.items() if each]
    report.tables = table(("", "errors", "wall s", "peak RSS MB", "/health p50 ms", "/health p99 ms"), rows)
    ours = found[STUDIO]
    report.goals = [
        Goal("errors", sum(sum(each.result.failures.values()) + each.health_failures for each in ours), "at most", 0),
        Goal(
            f"wall time in times of the upstream's {SLOW.delay_s:g} s",
            median(each.result.elapsed_s for each in ours) / SLOW.delay_s, "at most", WALL_LIMIT,
        ),
        Goal("peak RSS", median(each.peak_bytes for each in ours) / 1e6, "at most", PEAK_LIMIT_MB, " MB"),
        Goal("/health p99", _health_ms(ours, 99), "at most", HEALTH_LIMIT_MS, " ms"),
    ]  # fmt: skip
    report.raw = {
        name: [
            {
                "failures": one.result.failures, "wall_s": one.result.elapsed_s, "peak_bytes": one.peak_bytes,
                "times_s": one.result.times_s, "health_s": one.health_s, "health_failures": one.health_failures,
            }
            for one in each
        ]
        for name, each in found.items()
    }  # fmt: skip
    return report


def _round(caller: Caller, *, has_health: bool) -> _Round:
    with _asked(caller.port if has_health else None) as (health_s, failures):
        result = caller.load(clients=REQUESTS, requests=REQUESTS, warm_up=0, limit_s=LIMIT_S)
    return _Round(result, caller.program.memory().peak_bytes, health_s, len(failures))


@contextmanager
def _asked(port: int | None) -> Iterator[tuple[list[float], list[str]]]:
    """Ask for `/health` during the block; yields the times and the failures, which fill meanwhile."""
    health_s: list[float] = []
    failures: list[str] = []
    over = threading.Event()

    def ask() -> None:
        due_s = time.perf_counter()
        # From when it was to be asked: who asks again only after an answer asks once, however long all stands still.
        while port is not None and not over.wait(max(due_s - time.perf_counter(), 0.0)):
            started_s, due_s = due_s, due_s + ASKED_EVERY_S
            try:
                status, _ = programs.get(port, "/health")
            except (OSError, HTTPException) as error:
                failures.append(repr(error))
                continue
            health_s.append(time.perf_counter() - started_s)
            if status != 200:
                failures.append(str(status))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield health_s, failures
    finally:
        over.set()
        asking.join()


def _health_ms(rounds: list[_Round], percent: float) -> float:
    return 1000 * percentile((each_s for each in rounds for each_s in each.health_s), percent)


def _row(name: str, rounds: list[_Round]) -> tuple[str, ...]:
    has_health = any(each.health_s for each in rounds)
    return (
        name,
        f"{sum(sum(each.result.failures.values()) + each.health_failures for each in rounds)}",
        figure(median(each.result.elapsed_s for each in rounds)),
        figure(median(each.peak_bytes for each in rounds) / 1e6),
        *([figure(_health_ms(rounds, 50)), figure(_health_ms(rounds, 99))] if has_health else ["–", "–"]),
    )
