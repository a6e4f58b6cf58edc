"""What an upstream, and the log, learn about a job's attempt: whose request it was, and which trace it is."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from fakes import FakeEngine

from app import logs, trace
from app.engines.engine import Brief
from app.errors import UpstreamError
from app.jobs.job import JobRequest
from app.jobs.parts import Parts, open_parts
from app.jobs.workflow import Pieces
from app.logs import Scrubber
from app.settings import Settings
from app.studio import Studio


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    settings = Settings.model_validate({"STUDIO_DATA_DIR": tmp_path})
    logs.configure(settings)
    parts = open_parts(settings, engine_name="fake")
    yield parts
    parts.database.close()


def test_each_attempt_is_a_trace_of_its_own_under_the_id_of_the_request(
    parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[dict[str, str]] = []
    engine = FakeEngine(UpstreamError("broken"), while_working=lambda: sent.append(trace.outgoing_headers()))
    pieces = Pieces(
        parts.records,
        parts.store,
        Studio([engine], max_active=1),
        timeout_s=60.0,
        deadline_s=100.0,
        scrub=Scrubber(),
        clock=time.time,
    )
    submission = parts.jobs.submit(JobRequest(Brief("rain", 5.0, seed=7)), owner="", request_id="r-1")
    capsys.readouterr()

    pieces.attempt(submission.job.id, 1)
    outcome = pieces.attempt(submission.job.id, 2)
    pieces.finish(submission.job.id, outcome)

    assert [each["X-Request-ID"] for each in sent] == ["r-1", "r-1"]
    traces = [each["traceparent"].split("-")[1] for each in sent]
    assert len(set(traces)) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in traces)
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(line["request_id"], line["job"]) for line in written} == {("r-1", submission.job.id)}
    failures = [line for line in written if line["event"] == "attempt failed"]
    assert [(line["engine"], line["error"]) for line in failures] == [("fake", "upstream-error")] * 2
    assert all(0 <= line["elapsed_s"] < 60 for line in failures)
    assert [(line["request_id"], line["job"], line["attempt"], line["trace_id"]) for line in failures] == [
        ("r-1", submission.job.id, number, trace_id) for number, trace_id in enumerate(traces, start=1)
    ]
    assert trace.outgoing_headers() == {}
    assert structlog.contextvars.get_contextvars() == {}
