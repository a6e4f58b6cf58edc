"""Metrics: what is counted, what is looked at, and that neither can fail or hold up whoever asks."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest
from fakes import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_samples import CENSUS, FakeStreams, FakeStudio, Samples, exercised, read
from prometheus_client.parser import text_string_to_metric_families

from app.errors import JobStoreUnavailable, catalogue
from app.jobs.job import Census
from app.metrics import Latest, Metrics


def samples(metrics: Metrics) -> Samples:
    return read(metrics.render().decode())


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def names(metrics: Metrics) -> set[str]:
    return {name for name, _ in samples(metrics)}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="1.2.3", engine="huggingface")


def request(metrics: Metrics, **fields: object) -> None:
    told: dict[str, object] = {
        "route": "/api/status/{id}",
        "method": "GET",
        "status": 200,
        "code": "",
        "elapsed_s": 0.02,
        "size_bytes": 100,
    }
    metrics.request(**{**told, **fields})  # type: ignore[arg-type]


# ---------------------------------------------------------------------- what happens


def test_it_says_what_is_running(metrics: Metrics) -> None:
    assert value(metrics, "studio_build_info", version="1.2.3", engine="huggingface") == 1


def test_answers_are_counted_timed_and_weighed(metrics: Metrics) -> None:
    route = "/api/status/{id}"
    request(metrics)
    request(metrics, elapsed_s=3.0, size_bytes=50)
    request(metrics, status=404, code="not-found", size_bytes=None)

    assert value(metrics, "studio_http_requests_total", route=route, method="GET", status="200", code="") == 2
    assert value(metrics, "studio_http_requests_total", route=route, method="GET", status="404", code="not-found") == 1
    assert value(metrics, "studio_http_request_duration_seconds_count", route=route, method="GET") == 3
    assert value(metrics, "studio_http_request_duration_seconds_sum", route=route, method="GET") == pytest.approx(3.04)
    assert value(metrics, "studio_http_request_duration_seconds_bucket", route=route, method="GET", le="0.025") == 2
    assert value(metrics, "studio_http_response_bytes_total", route=route) == 150


def test_attempts_are_counted_by_outcome_and_timed(metrics: Metrics) -> None:
    metrics.attempt("huggingface", "ok", 4.0)
    metrics.attempt("huggingface", "upstream-timeout", 60.0)

    assert value(metrics, "studio_attempts_total", engine="huggingface", outcome="ok") == 1
    assert value(metrics, "studio_attempts_total", engine="huggingface", outcome="upstream-timeout") == 1
    assert value(metrics, "studio_attempt_duration_seconds_sum", engine="huggingface", result="ok") == 4.0
    assert value(metrics, "studio_attempt_duration_seconds_sum", engine="huggingface", result="failed") == 60.0


def test_pieces_are_counted_weighed_and_measured(metrics: Metrics) -> None:
    metrics.piece("composer", duration_s=10.0, size_bytes=1_000, decode_s=0.02, format="flac")
    metrics.piece("composer", duration_s=20.0, size_bytes=2_000, decode_s=0.03, format="flac")

    assert value(metrics, "studio_pieces_total", engine="composer", format="flac") == 2
    assert value(metrics, "studio_piece_bytes_total", engine="composer", format="flac") == 3_000
    assert value(metrics, "studio_music_seconds_total", engine="composer") == 30.0
    assert value(metrics, "studio_decode_duration_seconds_sum", engine="composer") == pytest.approx(0.05)


def test_what_was_turned_away_is_counted(metrics: Metrics) -> None:
    assert value(metrics, "studio_refused_total") == 0, "there before it happens, so that an alarm sees the first one"

    metrics.refused()
    metrics.fallback("composer", "upstream-unavailable")

    assert value(metrics, "studio_refused_total") == 1
    assert value(metrics, "studio_fallbacks_total", engine="composer", reason="upstream-unavailable") == 1


def test_many_threads_lose_no_count(metrics: Metrics) -> None:
    def work() -> None:
        for _ in range(200):
            request(metrics)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    route = "/api/status/{id}"
    assert value(metrics, "studio_http_requests_total", route=route, method="GET", status="200", code="") == 1_600


@settings(max_examples=50)
@given(method=st.text(), code=st.text(), outcome=st.text(), reason=st.text())
def test_what_others_send_makes_no_series(method: str, code: str, outcome: str, reason: str) -> None:
    metrics = Metrics(version="1", engine="composer")
    request(metrics, method=f"{method}!", code=f"{code}!", route="")
    metrics.attempt("composer", f"{outcome}!", 1.0)
    metrics.fallback("composer", f"{reason}!")

    assert value(metrics, "studio_http_requests_total", route="none", method="other", status="200", code="other") == 1
    assert value(metrics, "studio_attempts_total", engine="composer", outcome="other") == 1
    assert value(metrics, "studio_fallbacks_total", engine="composer", reason="other") == 1


def test_each_code_of_the_catalogue_is_told_apart(metrics: Metrics) -> None:
    for row in catalogue():
        metrics.attempt("composer", row.code(), 1.0)

    told = {dict(labels)["outcome"] for name, labels in samples(metrics) if name == "studio_attempts_total"}
    assert told == {row.code() for row in catalogue()}


# ---------------------------------------------------------------------- what is looked at


def test_places_breakers_and_budget_are_shown_as_they_are_now(metrics: Metrics) -> None:
    studio = FakeStudio()
    metrics.watch_studio(studio)
    assert (value(metrics, "studio_places_taken"), value(metrics, "studio_places_limit")) == (3, 64)
    assert value(metrics, "studio_retry_tokens") == 7.5
    states = {state: value(metrics, "studio_breaker_state", engine="huggingface", state=state) for state in STATES}
    assert states == {"closed": 0, "half-open": 1, "open": 0}

    studio.active, studio.breakers = 64, {"huggingface": "open"}

    assert value(metrics, "studio_places_taken") == 64
    assert value(metrics, "studio_breaker_state", engine="huggingface", state="open") == 1


STATES = ("closed", "half-open", "open")


def test_event_streams_are_shown(metrics: Metrics) -> None:
    metrics.watch_streams(FakeStreams())

    assert (value(metrics, "studio_event_streams"), value(metrics, "studio_event_streams_limit")) == (1, 32)


def test_jobs_are_shown_by_state(metrics: Metrics) -> None:
    metrics.watch_jobs(lambda: CENSUS, executor=lambda: None)

    assert value(metrics, "studio_job_database_up") == 1
    assert {status: value(metrics, "studio_jobs", status=status) for status in CENSUS.jobs} == CENSUS.jobs
    assert value(metrics, "studio_job_queue_age_seconds") == 12.5
    assert value(metrics, "studio_executors") == 1


@pytest.mark.parametrize(
    ("counted", "health", "shown"),
    [
        (None, None, 1),
        (None, "The lock cannot be taken.", 0),
        (3, "The lock cannot be taken.", 3),
        (0, None, 0),
    ],
)
def test_executors_are_counted_where_they_can_be(
    metrics: Metrics, counted: int | None, health: str | None, shown: int
) -> None:
    metrics.watch_jobs(lambda: Census(CENSUS.jobs, 0.0, counted), executor=lambda: health)

    assert value(metrics, "studio_executors") == shown


def test_where_nobody_knows_who_runs_jobs_nothing_is_said(metrics: Metrics) -> None:
    metrics.watch_jobs(lambda: CENSUS, executor=None)

    assert "studio_executors" not in names(metrics)


def test_where_nobody_uses_jobs_nothing_is_said(metrics: Metrics) -> None:
    metrics.watch_jobs(lambda: None, executor=None)

    assert not [name for name in names(metrics) if name.startswith("studio_job")]


def test_a_database_that_is_away_fails_nothing_and_shows(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    def ask() -> Census:
        raise JobStoreUnavailable("away")

    metrics.watch_jobs(ask, executor=None)
    request(metrics)

    assert value(metrics, "studio_job_database_up") == 0
    assert not {"studio_jobs", "studio_job_queue_age_seconds"} & names(metrics), "no figure is better than a wrong one"
    assert "studio_http_requests_total" in names(metrics)


def test_an_answer_of_the_database_is_good_for_a_while() -> None:
    clock, asked = FakeClock(), []

    def ask() -> Census:
        asked.append(1)
        return CENSUS

    latest = Latest(ask, every_s=10.0, patience_s=5.0, clock=clock)

    assert [latest.get() for _ in range(3)] == [(CENSUS, False)] * 3
    clock.now_s += 9.9
    latest.get()
    assert len(asked) == 1

    clock.now_s += 0.1
    latest.get()
    assert len(asked) == 2


def test_a_failure_is_written_once_until_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    clock, is_away = FakeClock(), True

    def ask() -> Census:
        if is_away:
            raise JobStoreUnavailable("away")
        return CENSUS

    latest = Latest(ask, every_s=10.0, patience_s=5.0, clock=clock)
    for _ in range(3):
        assert latest.get() == (None, True)
        clock.now_s += 10
    assert capsys.readouterr().out.count("jobs cannot be counted") == 1

    is_away = False
    assert latest.get() == (CENSUS, False)


@pytest.fixture
def answer() -> Iterator[threading.Event]:
    """Set when the question may be answered."""
    answer = threading.Event()
    yield answer
    answer.set()


def test_a_database_that_says_nothing_holds_nobody_up(answer: threading.Event) -> None:
    clock, asked = FakeClock(), []

    def ask() -> Census:
        asked.append(1)
        answer.wait(30)
        return CENSUS

    latest = Latest(ask, every_s=10.0, patience_s=0.01, clock=clock)
    assert latest.get() == (None, True)
    clock.now_s += 100
    assert latest.get() == (None, True)
    assert len(asked) == 1, "one question at a time"

    answer.set()
    patient = Latest(ask, every_s=10.0, patience_s=5.0, clock=clock)
    assert patient.get() == (CENSUS, False)


# ---------------------------------------------------------------------- what is told


def test_the_process_tells_about_itself(metrics: Metrics) -> None:
    assert {
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    } <= names(metrics)


def test_names_say_what_they_count_and_in_what() -> None:
    """Source: https://prometheus.io/docs/practices/naming/, read 2026-11."""
    for family in text_string_to_metric_families(exercised().render().decode()):
        if family.name.startswith("process_"):
            continue
        assert re.fullmatch(r"studio(_[a-z]+)+", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(r"_(ms|minutes|kb|mb|percent)\b", family.name)
        for sample in family.samples:
            assert not sample.name.endswith("_created")
            assert all(re.fullmatch(r"[a-z]+", label) for label in sample.labels)
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_two_applications_in_one_process_do_not_meet() -> None:
    one, other = exercised(), Metrics(version="2", engine="composer")

    assert value(one, "studio_attempts_total", engine="huggingface", outcome="ok") == 1
    assert value(other, "studio_attempts_total", engine="huggingface", outcome="ok") is None
