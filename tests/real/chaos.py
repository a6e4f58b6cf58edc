"""Programs that are killed while they have jobs, and what may be said of the jobs afterwards.

A client posts each job with a key and posts it again until it is acknowledged, as a careful
client would. From then on the job must not be lost, be run by two programs at the same time,
or end twice.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, Literal

from real.programs import JSON, Answer, Program, Server, wait_for

BEGINNINGS: Final = ("submitted", "resumed")
FINAL: Final = ("succeeded", "failed", "cancelled")
END_LIMIT_S: Final = 120.0
ACKNOWLEDGED_LIMIT_S: Final = 60.0
CLIENTS: Final = 8
STORM_S: Final = 4.0
JUST_BEGUN_S: Final = 0.2
AT_WORK_LIMIT_S: Final = 20.0
STOP_SLACK_S: Final = 0.25
"""How far the run of a program that was asked to stop may seem to reach into the next one's.

Such a program frees its seat a moment before it ends, and `Popen.wait` notices the end up to
50 ms late: the time that is noted as its death is later than the death.
"""


class Fleet:
    """Programs that share their jobs, each in a place where it can be started again after its death."""

    def __init__(self, folder: Path, *, takes_s: float, settings: Mapping[str, str]) -> None:
        """
        Args:
            folder: Gets what the programs write, and their data unless the settings say otherwise.
            takes_s: Seconds that the engine needs for a piece, more or less.
            settings: By name, of all programs.
        """
        self._folder = folder
        self._trace = folder / "trace"
        self._environment = {
            "TEST_TRACE": str(self._trace),
            "TEST_ENGINE_TAKES_S": str(takes_s),
            "STUDIO_DATA_DIR": str(folder / "data"),
            **settings,
        }
        self._numbers = itertools.count()
        self.servers: list[Server] = []
        self.workers: list[Program] = []
        self.deaths_s: dict[int, float] = {}
        """When each program was killed or had stopped, by its pid, in monotonic time."""
        self.stopped: set[int] = set()
        """The pids of those that were asked to stop."""

    def add_server(
        self, *options: str, app: str = "slow_jobs:app", until: Literal["up", "ready"] = "ready", **settings: str
    ) -> Server:
        """Start a web process and return it.

        Args:
            options: Of gunicorn.
            app: What it serves.
            until: What to wait for: that it answers, or that it can do its job, which it cannot where its folder
                or its database is out of order.
            settings: By name, of this program alone.
        """
        server = Server(self._new_folder(), app, options, {**self._environment, **settings})
        self.servers.append(server)
        server.wait_until_up()
        if until == "ready":
            server.wait_until_ready()
        return server

    def add_worker(self, **settings: str) -> Program:
        """Start a worker and return it when it takes jobs."""
        worker = Program(self._new_folder(), "slow_jobs", environment={**self._environment, **settings})
        self.workers.append(worker)
        worker.wait_until_running_jobs()
        return worker

    def kill(self, program: Program) -> None:
        self.deaths_s[program.pid] = time.monotonic()
        program.kill()
        self._forget(program)

    def stop(self, program: Program) -> float:
        """Ask it to end and return how many seconds that took."""
        self.stopped.add(program.pid)
        took_s = program.stop()
        self.deaths_s[program.pid] = time.monotonic()
        self._forget(program)
        return took_s

    def end(self) -> None:
        for program in (*self.servers, *self.workers):
            self.kill(program)

    def request(self, method: str, path: str, **options: Any) -> Answer:
        """Ask any web process that answers.

        Raises:
            OSError: none does.
        """
        error: OSError | None = None
        for server in random.sample(self.servers, len(self.servers)):
            try:
                return server.request(method, path, **options)
            except (OSError, HTTPException) as failure:
                error = ConnectionError(f"no answer: {failure!r}")
        raise error or ConnectionError("no web process is up")

    def trace(self) -> list[Mapping[str, Any]]:
        if not self._trace.exists():
            return []
        return [json.loads(line) for line in self._trace.read_text(encoding="utf-8").splitlines()]

    def traced(self, *events: str) -> list[str]:
        """Return the prompts of which the engine has told one of these events, in the order of the events."""
        return [entry["prompt"] for entry in self.trace() if entry["event"] in events]

    def _new_folder(self) -> Path:
        folder = self._folder / f"program-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def _forget(self, program: Program) -> None:
        self.servers = [each for each in self.servers if each is not program]
        self.workers = [each for each in self.workers if each is not program]


MakeFleet = Callable[..., Fleet]
"""The fixture `make_fleet`: takes the seconds of a piece and settings by name."""


@dataclass
class Client:
    """Somebody who wants pieces, and keeps what was promised to them.

    Attributes:
        jobs: The prompt of each acknowledged job, by id.
        ends: The first final state that was seen of each job, by id.
    """

    fleet: Fleet
    jobs: dict[str, str] = field(default_factory=dict)
    ends: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def submit(self, prompt: str, **fields: object) -> str:
        """Post one job until it is acknowledged, and return its id."""
        body = json.dumps({"prompt": prompt, **fields}).encode()
        give_up_at = time.monotonic() + ACKNOWLEDGED_LIMIT_S
        answer: Answer | None = None
        while time.monotonic() < give_up_at:
            try:
                answer = self.fleet.request("POST", "/api/jobs", body=body, headers={**JSON, "Idempotency-Key": prompt})
            except OSError:
                time.sleep(0.1)
                continue
            if answer.status == 202:
                job_id: str = answer.json["id"]
                self.jobs[job_id] = prompt
                return job_id
            assert answer.status in (409, 503), answer.content
            time.sleep(0.2)
        raise AssertionError(f"{prompt}: not acknowledged; the last answer was {answer}")

    def submit_many(self, prompts: Sequence[str], pool: ThreadPoolExecutor) -> list[str]:
        return list(pool.map(self.submit, prompts))

    def wait(self) -> None:
        """Return when every job has ended, or none of them has for `END_LIMIT_S`."""
        give_up_at = time.monotonic() + END_LIMIT_S
        while (open_ids := [each for each in self.jobs if each not in self.ends]) and time.monotonic() < give_up_at:
            for job_id in open_ids:
                job = self.status(job_id)
                if job is not None and job["status"] in FINAL:
                    self.ends[job_id] = job
                    give_up_at = time.monotonic() + END_LIMIT_S
            time.sleep(0.2)

    def status(self, job_id: str) -> Mapping[str, Any] | None:
        """Return the job, or None when nobody can say."""
        try:
            answer = self.fleet.request("GET", f"/api/status/{job_id}")
        except OSError:
            return None
        job: Mapping[str, Any] | None = answer.json if answer.status == 200 else None
        return job


@dataclass(frozen=True)
class Verdict:
    """What became of the acknowledged jobs; prompts stand for jobs in the lists.

    Attributes:
        lost: Have not ended.
        doubled: Were worked on by two programs at the same time.
        changed: Ended more than once, or differently when asked again.
        takeovers_s: Seconds from a program's death until another went on with what it had.
        paid_again: Runs at the upstream beyond the first of their job.
    """

    acknowledged: int
    succeeded: int
    lost: Sequence[str]
    doubled: Sequence[str]
    changed: Sequence[str]
    takeovers_s: Sequence[float]
    paid_again: int

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.changed) and max(self.takeovers_s, default=0) <= 30

    def __str__(self) -> str:
        takeover = f"{max(self.takeovers_s):.1f} s" if self.takeovers_s else "–"
        return (
            f"{self.acknowledged} acknowledged, {self.succeeded} succeeded, {len(self.lost)} lost, "
            f"{len(self.doubled)} run twice at once, {len(self.changed)} ended twice, "
            f"{len(self.takeovers_s)} taken over (longest {takeover}), {self.paid_again} runs paid again"
        )


def judge(client: Client) -> Verdict:
    """Ask for every job once more and compare with what was seen, and with what the engine did."""
    fleet = client.fleet
    runs = _runs(fleet)
    submitted: dict[str, set[str]] = defaultdict(set)
    for entry in fleet.trace():
        submitted[entry["prompt"]].add(entry["run"])
    return Verdict(
        acknowledged=len(client.jobs),
        succeeded=sum(end["status"] == "succeeded" for end in client.ends.values()),
        lost=[prompt for job_id, prompt in client.jobs.items() if job_id not in client.ends],
        doubled=[prompt for prompt, times in runs.items() if _overlap(times)],
        changed=[client.jobs[job_id] for job_id, end in client.ends.items() if _has_changed(client, job_id, end)],
        takeovers_s=[wait_s for times in runs.values() for wait_s in _takeovers_s(times)],
        paid_again=sum(len(each) - 1 for each in submitted.values()),
    )


@dataclass(frozen=True)
class Run:
    """One program at work on one job, in monotonic time.

    Attributes:
        from_s: When it began.
        to_s: When it ended, or its program did.
        was_killed: The program was killed before the run had ended.
        was_stopped: The program was asked to stop, and ended before the run had.
    """

    from_s: float
    to_s: float
    was_killed: bool = False
    was_stopped: bool = False


def _runs(fleet: Fleet) -> Mapping[str, Sequence[Run]]:
    """Return who worked on each prompt, in the order in which they began."""
    runs: dict[str, list[Run]] = defaultdict(list)
    for (prompt, program), begun_s, ended_s in _begun_and_ended(fleet):
        # One program may, wrongly, work on one run twice at once. Which end belongs to which beginning cannot be
        # told and does not matter: however they are paired, such runs overlap.
        runs[prompt] += itertools.starmap(Run, zip(begun_s, ended_s, strict=False))
        death_s = fleet.deaths_s.get(program)
        is_dead, was_asked = death_s is not None, program in fleet.stopped
        runs[prompt] += [
            Run(
                from_s,
                time.monotonic() if death_s is None else death_s,
                was_killed=is_dead and not was_asked,
                was_stopped=is_dead and was_asked,
            )
            for from_s in begun_s[len(ended_s) :]
        ]
    return {prompt: sorted(times, key=lambda run: run.from_s) for prompt, times in runs.items()}


def _begun_and_ended(fleet: Fleet) -> Iterator[tuple[tuple[str, int], list[float], list[float]]]:
    """Yield a prompt and a program for each run it worked on, with when it began to and when it ended."""
    times: dict[tuple[str, str, int], tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for entry in fleet.trace():
        begun_s, ended_s = times[entry["prompt"], entry["run"], entry["program"]]
        (begun_s if entry["event"] in BEGINNINGS else ended_s).append(entry["at_s"])
    for (prompt, _, program), (begun_s, ended_s) in times.items():
        yield (prompt, program), begun_s, ended_s


def _overlap(runs: Sequence[Run]) -> bool:
    return any(
        later.from_s < earlier.to_s - (STOP_SLACK_S if earlier.was_stopped else 0.0)
        for earlier, later in itertools.pairwise(runs)
    )


def _takeovers_s(runs: Sequence[Run]) -> Iterator[float]:
    for earlier, later in itertools.pairwise(runs):
        if earlier.was_killed or earlier.was_stopped:
            yield max(0.0, later.from_s - earlier.to_s)


def _has_changed(client: Client, job_id: str, end: Mapping[str, Any]) -> bool:
    now = client.status(job_id)
    told = client.fleet.request("GET", f"/api/jobs/{job_id}/events", timeout_s=10)
    ends = [event for event in _status_events(told.content.decode()) if event["status"] in FINAL]
    return now is None or now["status"] != end["status"] or now["finished_at"] != end["finished_at"] or len(ends) != 1


def _status_events(stream: str) -> Iterator[Mapping[str, Any]]:
    for event in stream.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in event.splitlines() if ": " in line)
        if lines.get("event") == "status":
            yield json.loads(lines["data"])


def storm(
    client: Client, prompts: Sequence[str], strike: Callable[[Fleet, random.Random], None], chance: random.Random
) -> None:
    """Post the jobs evenly over `STORM_S`, let `strike` do its damage in mid-run, and wait until all have ended.

    The pieces should take a second at least, so that one that has just begun is not over before the blow.
    """
    began_s = time.monotonic()

    def post(number: int, prompt: str) -> None:
        time.sleep(max(0.0, began_s + STORM_S * number / len(prompts) - time.monotonic()))
        client.submit(prompt)

    with ThreadPoolExecutor(CLIENTS) as pool:
        posts = [pool.submit(post, number, prompt) for number, prompt in enumerate(prompts)]
        # Jobs are still being posted at the latest of these moments, so that runs are still beginning.
        time.sleep(chance.uniform(0.3, 0.8) * STORM_S)
        _wait_until_at_work(client.fleet)
        strike(client.fleet, chance)
        for each in posts:
            each.result()
    client.wait()


def _wait_until_at_work(fleet: Fleet) -> None:
    """Return when a run has just begun: whoever is killed now is killed in the midst of work."""

    def has_just_begun() -> bool:
        since_s = time.monotonic() - JUST_BEGUN_S
        return any(entry["at_s"] > since_s for entry in fleet.trace() if entry["event"] in BEGINNINGS)

    wait_for(has_just_begun, AT_WORK_LIMIT_S)


def _workers_at_work(fleet: Fleet) -> list[Program]:
    """Return the workers that have a run which has not ended."""
    busy = {program for (_, program), begun_s, ended_s in _begun_and_ended(fleet) if len(begun_s) > len(ended_s)}
    return [worker for worker in fleet.workers if worker.pid in busy]


def strike_the_only_server(fleet: Fleet, chance: random.Random) -> None:
    """Kill all there is, and start it again."""
    (server,) = fleet.servers
    fleet.kill(server)
    fleet.add_server()


def strike_anyone(fleet: Fleet, chance: random.Random) -> None:
    """Kill one or two workers for good, those that are at work first, and a web process; start others instead."""
    for _ in range(chance.randint(1, 2)):
        fleet.kill(chance.choice(_workers_at_work(fleet) or fleet.workers))
        fleet.add_worker()
        time.sleep(chance.uniform(0, 1))
    fleet.kill(chance.choice(fleet.servers))
    fleet.add_server()
