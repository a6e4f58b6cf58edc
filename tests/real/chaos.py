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
from typing import Any, Final

from real.programs import JSON, Answer, Program, Server

FINAL: Final = ("succeeded", "failed", "cancelled")
END_LIMIT_S: Final = 120.0
ACKNOWLEDGED_LIMIT_S: Final = 60.0
CLIENTS: Final = 8
STORM_S: Final = 4.0


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
        """When each program was killed, by its pid, in monotonic time."""

    def add_server(self, *options: str, app: str = "slow_jobs:app", **settings: str) -> Server:
        """Start a web process and return it when it answers."""
        server = Server(self._new_folder(), app, options, {**self._environment, **settings})
        self.servers.append(server)
        server.wait_until_up()
        return server

    def add_worker(self, **settings: str) -> Program:
        worker = Program(self._new_folder(), "slow_jobs", environment={**self._environment, **settings})
        self.workers.append(worker)
        return worker

    def kill(self, program: Program) -> None:
        self.deaths_s[program.pid] = time.monotonic()
        program.kill()
        self._forget(program)

    def stop(self, program: Program) -> float:
        """Ask it to end and return how many seconds that took."""
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
    """One program at work on one job, in monotonic time."""

    from_s: float
    to_s: float
    was_killed: bool


def _runs(fleet: Fleet) -> Mapping[str, Sequence[Run]]:
    """Return who worked on each prompt, in the order in which they began."""
    runs: dict[str, list[Run]] = defaultdict(list)
    open_runs: dict[tuple[str, str, int], float] = {}
    for entry in fleet.trace():
        key = (entry["prompt"], entry["run"], entry["program"])
        if entry["event"] in ("submitted", "resumed"):
            open_runs[key] = entry["at_s"]
        else:
            runs[entry["prompt"]].append(Run(open_runs.pop(key), entry["at_s"], was_killed=False))
    for (prompt, _, program), from_s in open_runs.items():
        death_s = fleet.deaths_s.get(program)
        runs[prompt].append(Run(from_s, death_s or time.monotonic(), was_killed=death_s is not None))
    return {prompt: sorted(times, key=lambda run: run.from_s) for prompt, times in runs.items()}


def _overlap(runs: Sequence[Run]) -> bool:
    return any(later.from_s < earlier.to_s for earlier, later in itertools.pairwise(runs))


def _takeovers_s(runs: Sequence[Run]) -> Iterator[float]:
    for earlier, later in itertools.pairwise(runs):
        if earlier.was_killed:
            yield later.from_s - earlier.to_s


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
    """Post the jobs over `STORM_S`, let `strike` do its damage when some of them run, and wait until all have ended."""

    def post(prompt: str) -> None:
        time.sleep(STORM_S * CLIENTS / len(prompts))
        client.submit(prompt)

    with ThreadPoolExecutor(CLIENTS) as pool:
        posts = [pool.submit(post, prompt) for prompt in prompts]
        time.sleep(chance.uniform(0.4, 1.0) * STORM_S)
        strike(client.fleet, chance)
        for each in posts:
            each.result()
    client.wait()


def strike_the_only_server(fleet: Fleet, chance: random.Random) -> None:
    """Kill all there is, and start it again."""
    (server,) = fleet.servers
    fleet.kill(server)
    fleet.add_server()


def strike_anyone(fleet: Fleet, chance: random.Random) -> None:
    """Kill one or two workers for good and a web process, and start others in their places."""
    for worker in chance.sample(fleet.workers, chance.randint(1, 2)):
        fleet.kill(worker)
        fleet.add_worker()
        time.sleep(chance.uniform(0, 1))
    fleet.kill(chance.choice(fleet.servers))
    fleet.add_server()
