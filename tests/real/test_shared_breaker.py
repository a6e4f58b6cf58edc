"""Breakers that several processes share through a real Redis, which may be killed at any moment."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from real.programs import ROOT, Server, wait_for
from real.redis_server import RedisServer

from app.breaker import FRESH_S, PROBE_GRACE_S, REACH_AGAIN_S, REDIS_PREFIX, REDIS_TIMEOUT_S

pytestmark = pytest.mark.real

FAILURES: Final = 3
OPEN_S: Final = 1.0
SLACK_S: Final = 0.3
"""What a busy machine may add to a wait."""

AFTER_REDIS_IS_BACK_S: Final = REACH_AGAIN_S + 3.0


class Asker:
    """A process that asks an upstream through the shared breaker."""

    def __init__(self, url: str, *, open_s: float) -> None:
        paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "real.breaker_process"],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": paths,
                "TEST_REDIS_URL": url,
                "TEST_FAILURES": str(FAILURES),
                "TEST_OPEN_S": str(open_s),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, command: str) -> dict[str, Any]:
        """Have it do something and return what came of it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        while not (line := self._process.stdout.readline()).startswith("{"):  # the log
            assert line, "the process has died"
        told: dict[str, Any] = json.loads(line)
        return told

    def outcomes(self, *commands: str) -> list[str]:
        return [str(self.do(command)["outcome"]) for command in commands]

    def wait_for(self, phase: str) -> None:
        wait_for(lambda: self.do("outlook")["phase"] == phase)

    def wait_until_connected(self) -> None:
        wait_for(lambda: self.do("outlook")["connected"])

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


MakeAsker = Callable[..., Asker]


@pytest.fixture
def make_asker(redis_server: RedisServer) -> Iterator[MakeAsker]:
    askers: list[Asker] = []

    def make(url: str | None = None, *, open_s: float = OPEN_S, connected: bool = True) -> Asker:
        askers.append(Asker(url or redis_server.url, open_s=open_s))
        if connected:
            askers[-1].wait_until_connected()
        return askers[-1]

    yield make
    for asker in askers:
        asker.kill()


def look_again() -> None:
    """Let a process's last look at Redis grow old."""
    time.sleep(FRESH_S + 0.02)


# ---------------------------------------------------------------------- sharing


def test_failures_of_all_processes_count_together(make_asker: MakeAsker) -> None:
    one, other = make_asker(), make_asker()

    assert [*one.outcomes("fail"), *other.outcomes("fail"), *one.outcomes("fail")] == ["failed"] * 3

    look_again()
    assert one.outcomes("ask") == other.outcomes("ask") == ["refused"]
    assert 0 < other.do("outlook")["blocked_s"] <= OPEN_S


def test_an_answer_that_another_process_had_breaks_the_row(make_asker: MakeAsker) -> None:
    one, other = make_asker(), make_asker()

    for _ in range(3):
        one.outcomes("fail", "fail")
        look_again()
        other.outcomes("ask")

    look_again()
    assert one.do("outlook")["phase"] == "closed"


def test_a_refusal_does_not_ask_redis(make_asker: MakeAsker, redis_server: RedisServer) -> None:
    asker = make_asker(open_s=60)
    asker.outcomes(*["fail"] * FAILURES)
    with redis_server.client() as client:

        def commands() -> int:
            info: dict[str, int] = client.info("stats")
            return info["total_commands_processed"]

        before = commands()
        asked = [asker.do("ask") for _ in range(200)]
        after = commands()

    assert {each["outcome"] for each in asked} == {"refused"}
    assert sorted(each["took_s"] for each in asked)[100] < 0.001
    assert after - before <= 3


def test_of_all_threads_of_all_processes_exactly_one_is_the_probe(make_asker: MakeAsker) -> None:
    askers = [make_asker(), make_asker()]
    for _ in range(3):
        askers[0].outcomes(*["fail"] * FAILURES)
        for asker in askers:
            asker.wait_for("half-open")

        with ThreadPoolExecutor(2) as threads:
            told = list(threads.map(lambda asker: asker.do("race 50 0.8"), askers))

        outcomes = Counter(outcome for each in told for outcome in each["outcomes"])
        assert outcomes == {"answered": 1, "refused": 99}
        look_again()
        assert [asker.do("outlook")["phase"] for asker in askers] == ["closed", "closed"]


def test_a_probe_that_fails_opens_it_for_longer_for_all(make_asker: MakeAsker) -> None:
    one, other = make_asker(), make_asker()
    one.outcomes(*["fail"] * FAILURES)
    other.wait_for("half-open")

    assert other.outcomes("fail") == ["failed"]

    look_again()
    assert one.outcomes("ask") == ["refused"]
    assert OPEN_S < one.do("outlook")["blocked_s"] <= 2 * OPEN_S


def test_a_probe_whose_process_was_killed_is_given_up(make_asker: MakeAsker) -> None:
    one, other = make_asker(), make_asker()
    one.outcomes(*["fail"] * FAILURES)
    one.wait_for("half-open")
    one.do("hang")
    one.kill()
    assert other.outcomes("ask") == ["refused"]

    time.sleep(1.0 + PROBE_GRACE_S)

    assert other.outcomes("ask") == ["answered"]


def test_what_is_kept_expires_and_is_called_ours(make_asker: MakeAsker, redis_server: RedisServer) -> None:
    make_asker().outcomes("fail")

    with redis_server.client() as client:
        (key,) = client.keys()
        assert str(key).startswith(REDIS_PREFIX)
        assert 0 < client.ttl(key) <= 3_600


# ---------------------------------------------------------------------- without Redis


def test_when_redis_is_killed_each_process_goes_on_with_what_it_knows(
    make_asker: MakeAsker, redis_server: RedisServer
) -> None:
    one, other = make_asker(open_s=3), make_asker(open_s=3)
    one.outcomes(*["fail"] * FAILURES)
    look_again()
    assert other.outcomes("ask") == ["refused"]

    redis_server.stop()
    try:
        assert one.outcomes("ask") == other.outcomes("ask") == ["refused"]
        for asker in (one, other):
            asker.wait_for("half-open")
            told = [asker.do("ask") for _ in range(50)]
            assert {each["outcome"] for each in told} == {"answered"}
            assert max(each["took_s"] for each in told) < REDIS_TIMEOUT_S + SLACK_S
            assert sum(each["took_s"] for each in told) < REDIS_TIMEOUT_S + SLACK_S
        # Each for itself from now on.
        one.outcomes(*["fail"] * FAILURES)
        assert (*one.outcomes("ask"), *other.outcomes("ask")) == ("refused", "answered")
    finally:
        redis_server.start()

    for asker in (one, other):
        wait_for(lambda asker=asker: asker.do("outlook")["connected"], AFTER_REDIS_IS_BACK_S)  # type: ignore[misc]
    one.wait_for("closed")  # Redis has forgotten
    other.outcomes(*["fail"] * FAILURES)
    look_again()
    assert one.outcomes("ask") == ["refused"]


def test_when_redis_hangs_one_request_waits_for_a_quarter_of_a_second(
    make_asker: MakeAsker, redis_server: RedisServer
) -> None:
    asker = make_asker()
    asker.outcomes("ask")
    look_again()

    with redis_server.paused():
        raced = asker.do("race 50 0")
        after = [asker.do("ask") for _ in range(100)]

    assert Counter(raced["outcomes"]) == {"answered": 50}
    assert raced["took_s"] < REDIS_TIMEOUT_S + SLACK_S
    assert sum(each["took_s"] for each in after) < SLACK_S
    wait_for(lambda: asker.do("outlook")["connected"], AFTER_REDIS_IS_BACK_S)


def test_a_redis_that_was_never_there_or_lets_us_not_in_is_done_without(
    make_asker: MakeAsker, redis_server: RedisServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        nowhere = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
    for url in (nowhere, f"redis://:wrong@127.0.0.1:{redis_server.port}/0"):
        asker = make_asker(url, connected=False)

        told = [asker.do(command) for command in [*["fail"] * FAILURES, "ask"]]

        assert [each["outcome"] for each in told] == [*["failed"] * FAILURES, "refused"]
        assert max(each["took_s"] for each in told) < SLACK_S


# ---------------------------------------------------------------------- the whole service


class DeadUpstream:
    """Accepts connections, hangs up on each, and counts them."""

    def __init__(self) -> None:
        self.calls = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextmanager
def service(folder: Path, upstream: DeadUpstream, redis_url: str, **settings: str) -> Iterator[Server]:
    folder.mkdir()
    environment = {
        "HF_API_URL": upstream.url,
        "HF_BACKOFF_S": "0",
        "STUDIO_REDIS_URL": redis_url,
        "STUDIO_DATA_DIR": str(folder / "data"),
        "STUDIO_EXECUTOR": "none",
        **settings,
    }
    server = Server(folder, "wsgi:app", [], environment)
    try:
        server.wait_until_up()
        yield server
    finally:
        server.kill()


def test_what_one_replica_has_found_out_spares_the_others(tmp_path: Path, redis_server: RedisServer) -> None:
    upstream = DeadUpstream()
    shared = {"STUDIO_BREAKER_OPEN_S": "60"}
    with (
        service(tmp_path / "one", upstream, redis_server.url, **shared) as one,
        service(tmp_path / "other", upstream, redis_server.url, **shared) as other,
    ):
        time.sleep(2)  # until both have reached Redis, which they do not wait for
        while one.generate(duration=5).json["attempts"]:
            pass
        calls = upstream.calls
        look_again()

        refused = [other.generate(duration=5) for _ in range(100)]
        ready = other.request("GET", "/ready")
        up = other.request("GET", "/health")

    upstream.close()
    assert {(each.status, each.json["code"]) for each in refused} == {(503, "upstream-unavailable")}
    assert all(0 < int(each.headers["Retry-After"]) <= 60 for each in refused)
    assert sorted(each.elapsed_s for each in refused)[50] < 0.05
    assert upstream.calls == calls
    assert (ready.status, up.status) == (503, 200)
    assert "huggingface is known to be down" in ready.json["checks"]["breaker"]


def test_in_an_outage_the_composer_takes_over(tmp_path: Path, redis_server: RedisServer) -> None:
    upstream = DeadUpstream()
    with service(
        tmp_path / "one", upstream, redis_server.url, STUDIO_FALLBACK="composer", STUDIO_BREAKER_OPEN_S="60"
    ) as server:
        pieces = [server.generate(duration=5, seed=7) for _ in range(6)]
        ready = server.request("GET", "/ready")

    upstream.close()
    assert [each.status for each in pieces] == [200] * 6
    assert {each.headers["Studio-Engine"] for each in pieces} == {"composer"}
    assert pieces[-1].headers["Studio-Fallback-Reason"] == "upstream-unavailable"
    assert len({each.content for each in pieces}) == 1
    assert (ready.status, ready.json["checks"]["breaker"][:3]) == (200, "ok:")


def test_a_job_that_another_engine_has_taken_over_stays_with_it_when_the_service_is_killed(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    upstream = DeadUpstream()
    settings = {
        "STUDIO_DATA_DIR": str(tmp_path / "data"),
        "STUDIO_EXECUTOR": "embedded",
        "STUDIO_JOB_ATTEMPTS": "1",
        "STUDIO_FALLBACK": "composer",
    }

    def job(server: Server) -> dict[str, Any]:
        told: dict[str, Any] = server.request("GET", url).json
        return told

    with service(tmp_path / "one", upstream, redis_server.url, **settings) as server:
        server.wait_until_ready()
        body = json.dumps({"prompt": "rain", "duration": 30}).encode()
        url = server.request("POST", "/api/jobs", body=body).headers["Location"]
        wait_for(lambda: job(server)["engine"] == "composer")
        before, calls = job(server), upstream.calls
        server.kill()
    with service(tmp_path / "other", upstream, redis_server.url, **settings) as server:
        wait_for(lambda: job(server)["finished_at"], 60)
        after = job(server)

    upstream.close()
    assert (before["status"], before["attempt"]) == ("running", 2)
    assert (after["status"], after["engine"], after["attempt"]) == ("succeeded", "composer", 2)
    assert after["fallback_reason"].startswith("upstream-")
    assert upstream.calls == calls > 0
