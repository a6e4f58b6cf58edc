"""A request begins when it is complete, and not when a thread takes it up: the caller waits from then on."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest
from fakes import FakeEngine, MakeClient
from metric_samples import read

WAITED_S = 50.0


def after_a_wait() -> dict[str, object]:
    """Return what gunicorn says of a connection whose request has waited for a thread."""
    return {"gunicorn.socket": SimpleNamespace(arrived_s=time.monotonic() - WAITED_S)}


def test_the_deadline_counts_the_wait_for_a_thread(make_client: MakeClient) -> None:
    engine = FakeEngine()
    client = make_client(engine, STUDIO_DEADLINE_S="90")

    waited = client.post("/studio-generate", json={"prompt": "rain"}, environ_overrides=after_a_wait())
    not_waited = client.post("/studio-generate", json={"prompt": "rain"})

    assert (waited.status_code, not_waited.status_code) == (200, 200)
    left_s = [each.remaining_s() for each in engine.deadlines]
    assert left_s[0] < 90 - WAITED_S
    assert left_s[1] > 90 - WAITED_S


def test_who_has_waited_too_long_is_sent_away_and_the_engine_is_not_asked(make_client: MakeClient) -> None:
    engine = FakeEngine()

    answer = make_client(engine, STUDIO_DEADLINE_S="30").post(
        "/studio-generate", json={"prompt": "rain"}, environ_overrides=after_a_wait()
    )

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert json.loads(answer.data)["code"] == "overloaded"
    assert engine.briefs == []


def test_the_log_and_the_metrics_count_it_too(make_client: MakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    client = make_client(FakeEngine())
    capsys.readouterr()

    client.get("/health", environ_overrides=after_a_wait())

    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"request"' in line]
    assert line["elapsed_s"] >= WAITED_S
    samples = read(client.get("/metrics").text)
    sums_s = [value for (name, _), value in samples.items() if name == "studio_http_request_duration_seconds_sum"]
    assert sum(sums_s) >= WAITED_S
