"""a: 30 s of stereo WAV as base64 in JSON, through each gateway."""

from __future__ import annotations

from typing import Final

from bench.contenders import CONTENDERS, DIRECT, NGINX, STUDIO, TUNED_NGINX, tuned_nginx
from bench.report import Goal, Report, figure, ratio, table
from bench.rounds import Figures, run_rounds
from bench.samples import LONG
from bench.site import open_site, start_all

CLIENTS: Final = (1, 8)
ROUNDS: Final = 12
REQUESTS: Final = {1: 12, 8: 48}
"""By the number of clients, in one round."""

NAMES: Final = (STUDIO, NGINX, TUNED_NGINX, "naive Flask + requests", "FastAPI + httpx")

GOALS: Final = (
    (NGINX, "at most", 2.0),
    ("naive Flask + requests", "at least", 4.5),
    ("FastAPI + httpx", "at least", 7.0),
)


def measure(*, quick: bool) -> Report:
    """Return p50 and p99 at 1 and 8 clients."""
    rounds = 3 if quick else ROUNDS
    requests = {clients: count // (3 if quick else 1) for clients, count in REQUESTS.items()}
    report = Report(
        "30 s of stereo",
        f"The upstream answers at once with {len(LONG.wav()) / 1e6:.1f} MB of WAV as base64 in "
        f"{len(LONG.answer()) / 1e6:.1f} MB of JSON. nginx passes that on as it is; the others give the WAV. "
        f"{rounds} rounds of {requests[1]} requests by one client, then of {requests[8]} by eight.",
    )
    with open_site() as site:
        known = {**CONTENDERS, TUNED_NGINX: tuned_nginx}
        contenders = {name: known[name] for name in NAMES}
        callers = start_all(site, contenders, LONG, report.notes.append)
        figures = {
            clients: run_rounds(
                callers, clients=clients, rounds=rounds, requests=dict.fromkeys((DIRECT, *NAMES), requests[clients])
            )
            for clients in CLIENTS
        }
    report.tables = _table(figures)
    for clients in CLIENTS:
        report.goals += _goals(figures[clients], clients)
    report.raw = {
        f"{clients} clients": {name: each.raw() for name, each in figures[clients].items()} for clients in CLIENTS
    }
    return report


def _table(figures: dict[int, dict[str, Figures]]) -> list[str]:
    one, eight = (figures[clients] for clients in CLIENTS)
    rows = []
    for name in one:
        cells = []
        for at in (one, eight):
            cells += [figure(at[name].p50_ms), figure(at[name].p99_ms), _times(at[name].p50_ms, at[STUDIO].p50_ms)]
        rows.append((name, *cells))
    head = ("", "1 client: p50 ms", "p99 ms", "× this service", "8 clients: p50 ms", "p99 ms", "× this service")
    return table(head, rows)


def _times(one: float, other: float) -> str:
    return f"{one / other:.2f}"


def _goals(figures: dict[str, Figures], clients: int) -> list[Goal]:
    goals = []
    ours = figures[STUDIO].p50_ms
    with_clients = "1 client" if clients == 1 else f"{clients} clients"
    for name, bound, limit in GOALS:
        theirs = figures[name].p50_ms if name in figures else None
        if bound == "at most":
            goals.append(Goal(f"p50 in times of {name}, {with_clients}", ratio(ours, theirs), "at most", limit))
        else:
            goals.append(Goal(f"times faster than {name}, {with_clients}", ratio(theirs, ours), "at least", limit))
    return goals
