"""`make bench-jobs`: what jobs cost, and what is left of them when everything is killed again and again.

`python -m bench.jobs [figures] [sqlite] [postgres]`; all three take about half an hour.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the harness is that of the tests, with more rounds

from real.chaos import Client, Fleet, judge, storm, strike_anyone, strike_the_only_server
from real.postgres import Postgres
from real.programs import JSON, Program, Server

SQLITE_ROUNDS: Final = 20
POSTGRES_ROUNDS: Final = 10
JOBS_PER_ROUND: Final = 50
IDLE_S: Final = 20.0
ASKED_TIMES: Final = 300
SINGLE_JOBS: Final = 20


def main() -> None:
    parts: dict[str, Callable[[], None]] = {"figures": figures, "sqlite": sqlite, "postgres": postgres}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name in sys.argv[1:] or parts:
        print(f"\n## {name}\n", flush=True)
        parts[name]()


def sqlite() -> None:
    """Kill the only service in mid-run, in every round."""
    with fleet(takes_s=2.0, STUDIO_JOB_WORKERS="16") as ours:
        client = Client(ours)
        ours.add_server()
        _rounds(client, SQLITE_ROUNDS, strike_the_only_server)


def postgres() -> None:
    """Kill workers and replicas in mid-run, in every round."""
    with (
        Postgres() as server,
        fleet(takes_s=2.0, STUDIO_JOB_WORKERS="6", STUDIO_DATABASE_URL=server.new_database()) as ours,
    ):
        client = Client(ours)
        for _ in range(2):
            ours.add_server()
        for _ in range(3):
            ours.add_worker()
        _rounds(client, POSTGRES_ROUNDS, strike_anyone)


def _rounds(client: Client, rounds: int, strike: Callable[[Fleet, random.Random], None]) -> None:
    chance = random.Random(0)  # noqa: S311 - a seed makes the rounds comparable
    for number in range(rounds):
        started_s = time.monotonic()
        prompts = [f"round {number}, piece {piece}" for piece in range(JOBS_PER_ROUND)]
        storm(client, prompts, strike, chance)
        print(f"round {number + 1}: {len(client.ends)} ended, {time.monotonic() - started_s:.0f} s", flush=True)
    verdict = judge(client)
    print(f"\n{verdict}")
    if not verdict.is_clean:
        print("lost:", verdict.lost, "run twice at once:", verdict.doubled, "ended twice:", verdict.changed)
        raise SystemExit(1)
    if not verdict.takeovers_s:
        print("Nothing was running when it was killed: this proves nothing.")
        raise SystemExit(1)


def figures() -> None:
    """Measure what a caller waits for while fifty jobs run, and what the service takes when none does.

    `/health` touches nothing, so that it shows what an answer costs at least under that load: the base of the
    other two.
    """
    columns = ("/health p50", "status p50 / p99", "enqueue p50 / p99", "picked up p50 / max", "idle CPU", "RSS")
    print(f"| | {' | '.join(columns)} |\n|---|" + "---|" * len(columns))
    _print_figures("SQLite")
    with Postgres() as server:
        _print_figures("Postgres, web and worker", STUDIO_DATABASE_URL=server.new_database())


def _print_figures(name: str, **settings: str) -> None:
    settings = {"STUDIO_JOB_WORKERS": "50", **settings}
    with fleet(takes_s=0.1, **settings) as ours:
        server = ours.add_server()
        programs = [server, ours.add_worker()] if "STUDIO_DATABASE_URL" in settings else [server]
        client = Client(ours)
        picked_up_ms = _picked_up_ms(client)
        time.sleep(2)
        idle_shares = [_idle_share(each) for each in programs]
        rss_bytes = [_rss_bytes(each) for each in programs]
    with fleet(takes_s=60, **settings) as ours:
        server = ours.add_server()
        if "STUDIO_DATABASE_URL" in settings:
            ours.add_worker()
        health_ms, status_ms, enqueued_ms = _asked_ms(Client(ours), server)
    cells = (
        f"{statistics.median(health_ms):.1f} ms",
        f"{statistics.median(status_ms):.1f} / {_p99(status_ms):.1f} ms",
        f"{statistics.median(enqueued_ms):.1f} / {_p99(enqueued_ms):.1f} ms",
        f"{statistics.median(picked_up_ms):.0f} / {max(picked_up_ms):.0f} ms",
        ", ".join(f"{100 * share:.1f} %" for share in idle_shares),
        ", ".join(f"{size / 1e6:.0f} MB" for size in rss_bytes),
    )
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _picked_up_ms(client: Client) -> list[float]:
    """Submit single jobs to an idle service, and return after how long the engine had them."""
    times_ms = []
    for number in range(SINGLE_JOBS):
        client.submit(prompt := f"single {number}")
        submitted_s = time.monotonic()
        client.wait()
        begun_s = next(entry["at_s"] for entry in client.fleet.trace() if entry["prompt"] == prompt)
        times_ms.append(1000 * max(0.0, begun_s - submitted_s))
    return times_ms


def _asked_ms(client: Client, server: Server) -> tuple[list[float], list[float], list[float]]:
    """Ask for `/health` and a status again and again while fifty jobs run, then for more jobs; return the times."""
    with ThreadPoolExecutor(8) as pool:
        ids = client.submit_many([f"long {number}" for number in range(50)], pool)
    while len(client.fleet.trace()) < len(ids):
        time.sleep(0.1)
    time.sleep(2)
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        # Jobs come last: those that wait in the queue are no part of the load of the other two.
        asked = (("GET", "/health"), ("GET", f"/api/status/{ids[0]}"), ("POST", "/api/jobs"))
        health_ms, status_ms, enqueued_ms = (_timed_ms(connection, method, path) for method, path in asked)
    return health_ms, status_ms, enqueued_ms


def _timed_ms(connection: HTTPConnection, method: str, path: str) -> list[float]:
    elapsed_ms = []
    for number in range(ASKED_TIMES):
        body = json.dumps({"prompt": f"timed {number}"}) if method == "POST" else None
        started_s = time.perf_counter()
        connection.request(method, path, body, JSON)
        answer = connection.getresponse()
        answer.read()
        elapsed_ms.append(1000 * (time.perf_counter() - started_s))
        if answer.status not in (200, 202):
            raise RuntimeError(f"status {answer.status}")
        time.sleep(0.01)
    return elapsed_ms


def _idle_share(program: Program) -> float:
    """Return the share of one core that the program takes while it has nothing to do."""
    before_s = _cpu_s(program)
    time.sleep(IDLE_S)
    return (_cpu_s(program) - before_s) / IDLE_S


def _cpu_s(program: Program) -> float:
    ticks = 0
    for pid in _pids(program):
        # The name in brackets may hold spaces; behind it utime and stime are the 12th and 13th fields.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _rss_bytes(program: Program) -> int:
    """Return the resident size of the largest process, the one that does the work."""
    pages = (int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) for pid in _pids(program))
    return max(pages) * os.sysconf("SC_PAGE_SIZE")


def _pids(program: Program) -> Sequence[int]:
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text(encoding="utf-8").split()
    return [program.pid, *map(int, children)]


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


@contextmanager
def fleet(*, takes_s: float, **settings: str) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="studio-bench-") as folder:
        ours = Fleet(Path(folder), takes_s=takes_s, settings={"MALLOC_ARENA_MAX": "2", **settings})
        try:
            yield ours
        finally:
            ours.end()


if __name__ == "__main__":
    main()
