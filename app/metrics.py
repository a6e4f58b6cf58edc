"""Metrics: what the service counts and measures about itself, as Prometheus reads it.

Everything is counted in this process and starts anew with it: the service is one process (gunicorn's
`workers = 1`), and each replica is a target of its own. What is only looked at (places, breakers,
jobs) is read when somebody asks, and can never make the answer fail.

Names and units follow https://prometheus.io/docs/practices/naming/, read 2026-11. Every label has a
small fixed set of values, whatever callers and upstreams send.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from app.errors import catalogue
from app.jobs.job import Census
from app.retry import Clock

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram
    from prometheus_client.metrics_core import Metric

_log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

CENSUS_EVERY_S: Final = 10.0
"""How often the database is asked about jobs at most, however many ask for metrics."""

CENSUS_PATIENCE_S: Final = 1.0
"""How long an answer waits for the database; Prometheus gives up after 10 s unless told otherwise."""

_OTHER: Final = "other"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BREAKER_STATES: Final = ("closed", "half-open", "open")

_REQUEST_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 90, 125, 300)
_ATTEMPT_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 300, 600)
_DECODE_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Watched(Protocol):
    """What is looked at of the part that makes the music; `Studio` is one."""

    @property
    def active(self) -> int:
        """Places that are taken."""

    @property
    def max_active(self) -> int:
        """Places that there are."""

    @property
    def breakers(self) -> Mapping[str, str]:
        """`closed`, `open` or `half-open`, by engine."""

    @property
    def retry_tokens(self) -> float:
        """Repeated attempts that the budget would still pay for."""


class WatchedStreams(Protocol):
    """What is looked at of the event streams; `Streams` is one."""

    @property
    def open(self) -> int:
        """Streams that are open."""

    @property
    def limit(self) -> int:
        """Streams that may be open."""


class Metrics:
    """All metrics of one process. One object serves all threads.

    It is an `Observer` of `Studio`, is told of each request, and looks at what it was given to watch.
    """

    def __init__(self, *, version: str, engine: str, clock: Clock = time.monotonic) -> None:
        """
        Args:
            version: Of this service.
            engine: Name of the first engine.
            clock: Monotonic seconds.
        """
        # Imported late: a worker or a command-line tool has no use for it.
        from prometheus_client import CollectorRegistry, Counter, Histogram, Info
        from prometheus_client.process_collector import ProcessCollector

        self._clock = clock
        self._registry = CollectorRegistry()
        self._codes: Final = frozenset({"", *(row.code() for row in catalogue())})
        self._watched: _Watching = _Watching()
        self._answers: dict[tuple[str, str, int, str], tuple[Counter, Histogram, Counter]] = {}
        """The series of each kind of answer: looking them up by their labels takes longer than all the counting."""

        def counter(name: str, documentation: str, *labels: str) -> Counter:
            return Counter(name, documentation, labels, registry=self._registry)

        def histogram(name: str, documentation: str, *labels: str, buckets_s: tuple[float, ...]) -> Histogram:
            return Histogram(name, documentation, labels, buckets=buckets_s, registry=self._registry)

        build = Info("studio_build", "What is running: version and first engine.", registry=self._registry)
        build.info({"version": version, "engine": engine})
        self._requests = counter(
            "studio_http_requests_total",
            "Requests that were answered. The code is that of the problem, empty when there was none.",
            *("route", "method", "status", "code"),
        )
        self._request_seconds = histogram(
            "studio_http_request_duration_seconds",
            "Time from a request's arrival until its answer is ready to be sent; bodies that are streamed come after.",
            *("route", "method"),
            buckets_s=_REQUEST_BUCKETS_S,
        )
        self._response_bytes = counter(
            "studio_http_response_bytes_total", "Bytes of the bodies of answers whose length is known.", "route"
        )
        self._attempts = counter(
            "studio_attempts_total",
            "Attempts at a piece. The outcome is ok or the code of the error.",
            *("engine", "outcome"),
        )
        self._attempt_seconds = histogram(
            "studio_attempt_duration_seconds",
            "Time of one attempt: what the upstream takes, or what the composer takes to render.",
            *("engine", "result"),
            buckets_s=_ATTEMPT_BUCKETS_S,
        )
        self._decode_seconds = histogram(
            "studio_decode_duration_seconds",
            "Time to decode, prove and transcode one piece.",
            "engine",
            buckets_s=_DECODE_BUCKETS_S,
        )
        self._pieces = counter("studio_pieces_total", "Pieces that were made.", "engine", "format")
        self._piece_bytes = counter(
            "studio_piece_bytes_total", "Bytes of the pieces that were made.", "engine", "format"
        )
        self._music_seconds = counter("studio_music_seconds_total", "Length of the pieces that were made.", "engine")
        self._fallbacks = counter(
            "studio_fallbacks_total",
            "Pieces that another engine had to make, by that engine and by what kept the one before from it.",
            *("engine", "reason"),
        )
        self._refused = counter("studio_refused_total", "Generations refused because all places were taken.")
        self._registry.register(self._watched)
        ProcessCollector(registry=self._registry)

    # ------------------------------------------------------------------ what happens

    def request(
        self, *, route: str, method: str, status: int, code: str, elapsed_s: float, size_bytes: int | None
    ) -> None:
        """Count one answer.

        Args:
            route: Template of the route, never the path; "" when there is none for it.
            method: As the caller sent it.
            status: Of the answer.
            code: Of the problem, "" when there was none.
            elapsed_s: From the arrival until the answer's headers were ready.
            size_bytes: Of the body, None while that is not known.
        """
        method, code = method if method in _METHODS else _OTHER, code if code in self._codes else _OTHER
        series = self._answers.get((route, method, status, code))
        if series is None:
            route_label = route or "none"
            series = self._answers[route, method, status, code] = (
                self._requests.labels(route_label, method, status, code),
                self._request_seconds.labels(route_label, method),
                self._response_bytes.labels(route_label),
            )
        count, seconds, weight = series
        count.inc()
        seconds.observe(elapsed_s)
        if size_bytes:
            weight.inc(size_bytes)

    def attempt(self, engine: str, outcome: str, elapsed_s: float) -> None:
        """Count one attempt; the outcome is `ok` or the code of the error."""
        is_ok = outcome == "ok"
        self._attempts.labels(engine, outcome if is_ok or outcome in self._codes else _OTHER).inc()
        self._attempt_seconds.labels(engine, "ok" if is_ok else "failed").observe(elapsed_s)

    def piece(self, engine: str, *, duration_s: float, size_bytes: int, decode_s: float, format: str) -> None:
        """Count one piece, as it is delivered."""
        self._pieces.labels(engine, format).inc()
        self._piece_bytes.labels(engine, format).inc(size_bytes)
        self._music_seconds.labels(engine).inc(duration_s)
        self._decode_seconds.labels(engine).observe(decode_s)

    def fallback(self, engine: str, reason: str) -> None:
        """Count one piece that `engine` had to make in the place of another one."""
        self._fallbacks.labels(engine, reason if reason in self._codes else _OTHER).inc()

    def refused(self) -> None:
        """Count one generation for which there was no place."""
        self._refused.inc()

    # ------------------------------------------------------------------ what is looked at

    def watch_studio(self, studio: Watched) -> None:
        """Show its places, its breakers and its budget from now on."""
        self._watched.studio = studio

    def watch_streams(self, streams: WatchedStreams) -> None:
        """Show how many are open from now on."""
        self._watched.streams = streams

    def watch_jobs(self, census: Callable[[], Census | None], *, executor: Callable[[], str | None] | None) -> None:
        """Show how jobs stand from now on.

        Args:
            census: Asks the database, however long that takes; None while nobody uses jobs.
            executor: Says why jobs are not run although this service should do so, or None; absent where it should
                not.
        """
        latest = Latest(census, every_s=CENSUS_EVERY_S, patience_s=CENSUS_PATIENCE_S, clock=self._clock)
        self._watched.census, self._watched.executor = latest, executor

    # ------------------------------------------------------------------ what is told

    def render(self) -> bytes:
        """Return all of it in Prometheus' text format, `MEDIA_TYPE`."""
        from prometheus_client import generate_latest

        return generate_latest(_WithoutBirthdays(self._registry))


class Latest:
    """The last answer to a question that may take long, or never be answered.

    It is asked in a thread of its own, one at a time and not too often, so that who wants the answer
    waits for a bounded time.
    """

    def __init__(
        self, ask: Callable[[], Census | None], *, every_s: float, patience_s: float, clock: Clock = time.monotonic
    ) -> None:
        """
        Args:
            ask: The question.
            every_s: For how long an answer, or a failure, is good.
            patience_s: How long to wait for an answer.
            clock: Monotonic seconds.
        """
        self._ask = ask
        self._every_s = every_s
        self._patience_s = patience_s
        self._clock = clock
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._asked_at_s = 0.0
        self._outcome: tuple[Census | None, bool] = (None, False)

    def get(self) -> tuple[Census | None, bool]:
        """Return the answer, and whether there is none because asking failed or takes too long."""
        with self._lock:
            asking, now_s = self._asking, self._clock()
            if asking is None or (now_s - self._asked_at_s >= self._every_s and not asking.is_alive()):
                asking = self._asking = threading.Thread(target=self._run, name="census", daemon=True)
                self._asked_at_s = now_s
                asking.start()
        asking.join(self._patience_s)
        return (None, True) if asking.is_alive() else self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self._ask(), False
        except Exception as error:  # noqa: BLE001 - metrics about everything else must go out
            _, failed_before = self._outcome
            if not failed_before:
                _log.warning("jobs cannot be counted", exc_info=error)
            self._outcome = None, True


class _Watching:
    """Reads what is watched whenever somebody asks for metrics."""

    studio: Watched | None = None
    streams: WatchedStreams | None = None
    census: Latest | None = None
    executor: Callable[[], str | None] | None = None

    def collect(self) -> Iterable[Metric]:
        if self.studio:
            yield from _of_studio(self.studio)
        if self.streams:
            yield _gauge("studio_event_streams", "Event streams that are open.", self.streams.open)
            yield _gauge("studio_event_streams_limit", "Event streams that may be open.", self.streams.limit)
        if self.census:
            census, is_failing = self.census.get()
            yield from _of_jobs(census, is_failing=is_failing, executor=self.executor)


def _of_studio(studio: Watched) -> Iterator[Metric]:
    yield _gauge("studio_places_taken", "Generations that callers are waiting for.", studio.active)
    yield _gauge("studio_places_limit", "Generations that callers may be waiting for.", studio.max_active)
    yield _gauge(
        "studio_retry_tokens", "Repeated attempts that the retry budget would still pay for.", studio.retry_tokens
    )
    yield _gauges(
        "studio_breaker_state",
        "1 for the state that the engine's circuit breaker is in, 0 for the others.",
        ("engine", "state"),
        {
            (engine, state): float(state == current)
            for engine, current in studio.breakers.items()
            for state in _BREAKER_STATES
        },
    )


def _of_jobs(census: Census | None, *, is_failing: bool, executor: Callable[[], str | None] | None) -> Iterator[Metric]:
    if census or is_failing:
        yield _gauge(
            "studio_job_database_up", "Whether the database of the jobs answers: 1, or 0.", float(not is_failing)
        )
    if census:
        yield _gauges(
            "studio_jobs",
            "Jobs that are kept, of all replicas on this database.",
            ("status",),
            {(status,): count for status, count in census.jobs.items()},
        )
        yield _gauge(
            "studio_job_queue_age_seconds", "How long the job has waited that has waited longest.", census.queue_age_s
        )
    executors = census.executors if census else None
    if executors is None and executor:
        executors = int(executor() is None)
    if executors is not None:
        yield _gauge("studio_executors", "Processes that run jobs, as far as this one knows.", executors)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return _gauges(name, documentation, (), {(): value})


def _gauges(name: str, documentation: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, documentation, labels=labels)
    for each, value in values.items():
        family.add_metric(each, value)
    return family


class _WithoutBirthdays:
    """A registry without the time at which each series was made.

    The client library exports that as a series of its own for each one, which the text format has no
    place for, and leaving it out is a setting for all registries of a process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
