"""Attacks by slow clients, with slowhttptest: hundreds of connections that send, or read, a little now and then.

Source: https://github.com/shekyan/slowhttptest, version 1.8.2 as Debian has it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from real.programs import ROOT, Server, wait_for

pytestmark = pytest.mark.real

CONNECTIONS = 300
"""More than the service has threads for its default settings."""

CROWD = 2_000
"""More than may wait there without having asked for anything yet."""

ATTACK_S = 8
ATTACKED_S = 0.25
"""What an attack may add to the slowest answers of `/health`."""

LARGEST_PAGE = "/docs/swagger/js/swagger-ui-bundle.js"

ATTACKS = {
    "headers": ["-H", "-i", "1", "-u", "/health"],
    # Of another type it would be refused before it has come, and nobody would be slow.
    "body": ["-B", "-i", "1", "-s", "8192", "-f", "application/json", "-u", "/studio-generate"],
    "body beyond the limit": ["-B", "-i", "1", "-s", "800000", "-f", "application/json", "-u", "/studio-generate"],
    # The same large page several times on each connection: one is taken by the kernel's own buffers.
    "reading": ["-X", "-k", "8", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-u", LARGEST_PAGE],
}


@dataclass
class Observed:
    """What callers who behave went through meanwhile."""

    health_s: list[float] = field(default_factory=list)
    generate_s: list[float] = field(default_factory=list)

    @property
    def health_p99_s(self) -> float:
        return sorted(self.health_s)[int(len(self.health_s) * 0.99)]


@pytest.fixture(scope="module")
def slowhttptest() -> str:
    found = shutil.which("slowhttptest")
    if not found:
        pytest.fail("slowhttptest is not installed: apt-get install slowhttptest", pytrace=False)
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    environment = {"TEST_ENGINE_TAKES_S": "0.05", "STUDIO_EXECUTOR": "none", "STUDIO_DATA_DIR": str(folder / "data")}
    server = Server(folder, "slow_service:app", (), environment)
    try:
        server.wait_until_up()
        yield server
    finally:
        server.kill()


def attack(program: str, server: Server, *options: str, connections: int) -> str:
    """Return what the attacker says at its end."""
    *options_but_path, path = options
    rate = str(connections * 2 // 3)
    command = [program, "-c", str(connections), "-r", rate, "-l", str(ATTACK_S), *options_but_path]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}{path}"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
        timeout=ATTACK_S + 30,
    )
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", done.stdout)


def observe(server: Server, seconds: float) -> Observed:
    """Call the service again and again, as somebody who behaves."""
    observed, until_s = Observed(), time.monotonic() + seconds
    while time.monotonic() < until_s:
        health = server.request("GET", "/health")
        assert health.status == 200
        observed.health_s.append(health.elapsed_s)
        if len(observed.health_s) % 20 == 0:
            piece = server.generate()
            assert piece.status == 200, piece.content
            observed.generate_s.append(piece.elapsed_s)
        time.sleep(0.02)
    return observed


def attack_unnoticed(server: Server, program: str, options: list[str], *, connections: int) -> str:
    """Hold what others go through during an attack against what they did before, and return the attacker's report."""
    before = observe(server, 2)
    with ThreadPoolExecutor(1) as pool:
        attacking = pool.submit(attack, program, server, *options, connections=connections)
        observed = observe(server, ATTACK_S - 1)
        report = attacking.result()

    assert "service available:   YES" in report, report
    assert len(observed.health_s) > 50
    assert observed.health_p99_s <= before.health_p99_s + ATTACKED_S, sorted(observed.health_s)[-10:]
    assert max(observed.generate_s) <= max(before.generate_s) + 2 * ATTACKED_S
    assert not any(line.get("level") in ("error", "critical") for line in server.log)
    return report


@pytest.mark.parametrize("options", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_goes_unnoticed_by_the_others(server: Server, slowhttptest: str, options: list[str]) -> None:
    report = attack_unnoticed(server, slowhttptest, options, connections=CONNECTIONS)

    assert re.search(rf"connected: +{CONNECTIONS}\b", report) or "No open connections left" in report, report


def test_a_crowd_too_large_to_wait_goes_unnoticed_too(server: Server, slowhttptest: str) -> None:
    attack_unnoticed(server, slowhttptest, ATTACKS["headers"], connections=CROWD)

    # Those who had waited longest had to go.
    wait_for(lambda: sum(line.get("too_many", 0) for line in server.log) > CONNECTIONS)


def test_after_the_attacks_everything_is_as_before(server: Server) -> None:
    wait_for(lambda: server.request("GET", "/health").elapsed_s < 0.05)

    assert server.generate().status == 200
    assert server.stop() < 8
