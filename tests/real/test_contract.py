"""The description against the running service: requests made up from it by the thousand, alone and in sequences.

All checks of Schemathesis are on; what it takes for a failure and is none stands, with the reason, in
`contract_hooks.py`. `make contract CASES=50000` is the same with more requests; the same number makes the same ones.

Source: https://schemathesis.readthedocs.io, version 4.32.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from api_keys import BOB, KEYS, NINA
from real.programs import ROOT, Server

pytestmark = pytest.mark.real

_log = logging.getLogger(__name__)

CASES: Final = int(os.environ.get("TEST_CONTRACT_CASES", "2000"))
"""Requests in all, at least; half of them where everybody may call, half where only two callers may."""

CASES_OF_AN_EXAMPLE: Final = 25
"""Of all operations together, more or less: Schemathesis is told how many examples to try of each one."""

MOST_EXAMPLES: Final = 300
ROUND_LIMIT_S: Final = 3_600

SETTINGS: Final = {
    "STUDIO_MAX_QUEUED": "100000",
    "STUDIO_MAX_STREAMS": "200",
    "STUDIO_MAX_ACTIVE": "200",
    "STUDIO_JOB_WORKERS": "64",
    "STUDIO_LOG_LEVEL": "WARNING",
}
"""High enough that nothing is refused for being too much, or waits for all the sections of songs."""

PEERS: Final = {
    "auth": [
        {"name": name, "fixedHeaders": [{"name": header, "value": value} for header, value in headers.items()]}
        for name, headers in (("nina", NINA), ("bob", BOB))
    ]
}


@dataclass
class Outcome:
    """What came of all rounds against one server."""

    cases: int = 0
    failures: int = 0
    report: str = field(default="", repr=False)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """Return the outcomes by who may call. Both are asked at the same time: each spends half of it waiting."""
    settings: dict[str, dict[str, str]] = {"everybody": {}, "known callers": KEYS}
    folders = {name: tmp_path_factory.mktemp("contract") for name in settings}
    servers = {
        name: Server(
            folders[name],
            "ready_service:app",
            (),
            {**SETTINGS, "STUDIO_DATA_DIR": str(folders[name] / "data"), **settings[name]},
        )
        for name in settings
    }
    try:
        with ThreadPoolExecutor() as pool:
            asked = {
                name: pool.submit(ask, server, folders[name], with_keys=bool(settings[name]), cases=CASES // 2)
                for name, server in servers.items()
            }
        yield {name: each.result() for name, each in asked.items()}
    finally:
        for server in servers.values():
            server.kill()


def ask(server: Server, folder: Path, *, with_keys: bool, cases: int) -> Outcome:
    """Ask the server at least that often, in as many rounds as it takes, or until something fails."""
    server.wait_until_up()
    server.wait_until_ready()
    config, told = folder / "schemathesis.toml", folder / "told.json"
    peers = folder / "peers.json"
    peers.write_text(json.dumps(PEERS), encoding="utf-8")
    auth = f'[auth.wfc]\npath = "{peers}"\npeers = ["nina", "bob"]\n' if with_keys else ""
    config.write_text(f'hooks = "contract_hooks"\n[cache]\nenabled = false\n{auth}', encoding="utf-8")
    outcome = Outcome()
    seed = 0
    while outcome.cases < cases and not outcome.failures:
        seed += 1
        examples = min(max((cases - outcome.cases) // CASES_OF_AN_EXAMPLE, 10), MOST_EXAMPLES)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "--no-color", "run"),
                f"http://127.0.0.1:{server.port}/docs/openapi.json",
                *("--checks", "all", "--continue-on-failure", "--request-timeout", "120"),
                # These two do not depend on the seed.
                *("--phases", "examples,coverage,fuzzing,stateful" if seed == 1 else "fuzzing,stateful"),
                *("--max-examples", str(examples), "--seed", str(seed), "--generation-database", "none"),
                *("--report", "json", "--report-json-path", str(told)),
            ],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "tests" / "real")},
            capture_output=True,
            text=True,
            check=False,
            timeout=ROUND_LIMIT_S,
        )
        outcome.report = done.stdout + done.stderr
        if done.returncode:
            outcome.failures += 1
            _log.error("%s", outcome.report)
        else:
            outcome.cases += json.loads(told.read_text(encoding="utf-8"))["test_cases"]["generated"]
        _log.info("with keys: %s, round %d: %d cases, %d failures", with_keys, seed, outcome.cases, outcome.failures)
    faults = [line for line in server.log if line.get("level") in ("error", "critical")]
    outcome.failures += len(faults)
    outcome.report += "".join(f"\n{each}" for each in faults[:5])
    return outcome


@pytest.mark.parametrize("who", ["everybody", "known callers"])
def test_what_is_described_is_what_is_answered(outcomes: dict[str, Outcome], who: str) -> None:
    outcome = outcomes[who]

    assert outcome.failures == 0, outcome.report
    assert outcome.cases >= CASES // 2
