"""Studio: text in, music out. `create_app` joins the parts and is the only place that knows them all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from flask import Flask
    from flask_openapi3 import OpenAPI

    from app.engines.engine import Engine
    from app.jobs.executor import Embedded, Worker
    from app.jobs.job import Census
    from app.jobs.parts import LateParts
    from app.settings import Settings
    from app.studio import Studio
    from app.web.events import Streams
    from app.web.failures import OpenTraining
    from app.web.health import Check
    from app.web.jobs import OpenJobs

VERSION: Final = "0.1.0"

_EXTENSION: Final = "studio"
_CENSUS_EVERY_S: Final = 5.0
_CENSUS_PATIENCE_S: Final = 1.0


class Background:
    """What goes on in a serving process beside its requests. The server starts and stops it: see `gunicorn.conf.py`."""

    def __init__(
        self,
        settings: Settings,
        studio: Studio,
        parts: LateParts,
        streams: Streams,
        *,
        open_jobs: OpenJobs,
        uses_jobs: bool,
    ) -> None:
        """
        Args:
            settings: Of this process.
            studio: Makes the music.
            parts: What jobs are made of.
            streams: Of job events.
            open_jobs: Opens what keeps the jobs.
            uses_jobs: Whether jobs are used for certain, and not only once somebody has opened the parts.
        """
        self._settings = settings
        self._open_jobs = open_jobs
        self._uses_jobs = uses_jobs
        self._studio = studio
        self._parts = parts
        self._streams = streams
        self._executor: Embedded | None = None

    def start(self) -> None:
        """Begin, in the process that serves the requests: threads do not survive a fork."""
        from app import logs

        logs.announce(self._settings, version=VERSION)
        if self._settings.runs_jobs:
            from app.jobs.executor import Embedded, Executor

            self._executor = Embedded(Executor(self._settings, self._studio, self._parts))
            self._executor.start()

    def health(self) -> str | None:
        """Return why jobs are not run although this service should do so, or None."""
        return self._executor.health() if self._executor else None

    def check(self) -> Check:
        """Return the check whether somebody runs the jobs: this service if it should, else others."""
        from app.metrics import Latest
        from app.web.health import executor_check

        if self._settings.runs_jobs:
            return self.health
        census = Latest(self.census, every_s=_CENSUS_EVERY_S, patience_s=_CENSUS_PATIENCE_S).get
        return executor_check(None if self._settings.database_url else self._is_lock_held, census)

    def census(self) -> Census | None:
        """Return how all jobs stand, or None while nobody uses jobs: what they need is not loaded to count them.

        Raises:
            JobStoreUnavailable: they cannot be counted now.
        """
        if not (self._uses_jobs or self._parts.are_open):
            return None
        found = self._open_jobs().census()
        is_left_to_one = not (self._settings.runs_jobs or self._settings.database_url)
        return replace(found, executors=int(self._is_lock_held())) if is_left_to_one else found

    def _is_lock_held(self) -> bool:
        from app.jobs.lock import is_held

        return is_held(self._settings.data_dir)

    def stop(self) -> None:
        """Have everything come to its end soon; may be called from a signal handler."""
        self._streams.stop()
        if self._executor:
            self._executor.stop()

    def join(self, timeout_s: float) -> None:
        """Wait for that end. Jobs that are not finished within the time are taken up by the next process."""
        if self._executor:
            self._executor.join(timeout_s)

    def leave(self) -> None:
        """Let other processes go on with jobs that are still at work; this one must end with the next breath."""
        if self._executor:
            self._executor.leave()


def background(app: Flask) -> Background:
    """Return what goes on beside the requests of an application that `create_app` has made."""
    found = app.extensions[_EXTENSION]
    if not isinstance(found, Background):
        raise TypeError(f"{_EXTENSION!r} is an extension of somebody else")
    return found


def create_app(
    settings: Settings | None = None,
    *,
    engine: Engine | Literal["from settings"] | None = "from settings",
    jobs: OpenJobs | None = None,
    training: OpenTraining | None = None,
) -> OpenAPI:
    """Return the service as a WSGI application.

    Args:
        settings: The configuration; read from the environment when absent.
        engine: What makes the music. None is an engine that is not configured; by default
            `settings.engine` names it.
        jobs: Opens what keeps the jobs; by default what the settings name.
        training: Opens what keeps training runs; the same.
    Raises:
        SettingsError: the environment holds settings that cannot be used.
    """
    # Imported here and not above: whoever imports `app.errors` or `app.audio` also runs this
    # module, and a command-line tool or an engine should not carry a web framework for that.
    from flask_openapi3 import Info, OpenAPI

    from app import logs
    from app.engines import ENGINES
    from app.jobs.parts import LateParts
    from app.metrics import Metrics
    from app.settings import load
    from app.studio import open_studio
    from app.web import (
        callers,
        docs,
        edge,
        engines,
        events,
        failures,
        generate,
        guard,
        health,
        limits,
        pages,
        problems,
        songs,
        tracing,
    )
    from app.web import jobs as web_jobs
    from app.web import metrics as web_metrics

    settings = settings or load()
    logs.configure(settings)
    if isinstance(engine, str):
        engine = ENGINES[settings.engine].build(settings)
    engine_name = engine.name if engine else settings.engine
    parts = LateParts(settings, engine_name=engine_name)
    uses_jobs = settings.database_url is not None or jobs is not None
    jobs = jobs or parts.jobs
    streams = events.Streams(limit=settings.max_streams)
    metrics = Metrics(version=VERSION, engine=engine_name)
    fallback = [ENGINES[name].build(settings) for name in settings.fallback_engines]
    studio = open_studio(settings, engine, fallback, observer=metrics)
    aside = Background(settings, studio, parts, streams, open_jobs=jobs, uses_jobs=uses_jobs)
    metrics.watch_studio(studio)
    metrics.watch_streams(streams)
    metrics.watch_jobs(aside.census, executor=aside.health if settings.runs_jobs else None)

    app = OpenAPI(
        __name__,
        info=Info(title="Studio", version=VERSION, summary=docs.SUMMARY, description=docs.DESCRIPTION),
        static_folder=None,
        doc_ui=False,
        **problems.DOCUMENTATION,
    )
    app.url_map.merge_slashes = False
    guard.protect(app, deadline_s=settings.deadline_s)
    tracing.follow(app)
    web_metrics.observe(app, metrics)
    problems.register(app, scrub=logs.Scrubber(settings.secrets))
    edge.protect(app, trusted_proxies=settings.trusted_proxies, hosts=settings.hosts, origins=settings.origins)
    callers.identify(app, settings.api_key_digests, is_exposed=settings.is_exposed)
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    limits.protect(app, work=settings.rate_limit, read=settings.read_limit, redis_url=redis_url)
    callers.admit(app)
    app.register_api(generate.blueprint(studio, jobs))
    app.register_api(web_jobs.blueprint(jobs, studio, streams))
    app.register_api(songs.blueprint(jobs, studio))
    app.register_api(failures.blueprint(jobs, training or parts.training))
    app.register_api(
        engines.blueprint(ENGINES, settings, in_use=studio.stand_in.engine if studio.stand_in else engine_name)
    )
    app.register_api(
        health.blueprint(
            version=VERSION,
            engine_name=engine_name,
            checks={
                "engine": health.engine_check(studio),
                "breaker": health.breaker_check(studio),
                "jobs": health.jobs_check(jobs),
                "executor": aside.check(),
            },
        )
    )
    app.register_api(web_metrics.blueprint(metrics))
    app.register_blueprint(docs.blueprint())
    app.register_blueprint(pages.blueprint())
    generate.describe(app, studio.formats)
    limits.describe(app, work=settings.rate_limit, read=settings.read_limit, with_keys=bool(settings.api_key_digests))
    app.extensions[_EXTENSION] = aside
    return app


def create_worker(
    settings: Settings | None = None, *, engine: Engine | Literal["from settings"] | None = "from settings"
) -> Worker:
    """Return what runs jobs in a program of its own; the arguments are those of `create_app`.

    Raises:
        SettingsError: the environment holds settings that cannot be used.
    """
    from app import logs
    from app.engines import ENGINES
    from app.jobs.executor import Executor, Worker
    from app.jobs.parts import LateParts
    from app.settings import load
    from app.studio import open_studio

    settings = settings or load()
    logs.configure(settings)
    logs.announce(settings, version=VERSION)
    if isinstance(engine, str):
        engine = ENGINES[settings.engine].build(settings)
    studio = open_studio(settings, engine, [ENGINES[name].build(settings) for name in settings.fallback_engines])
    parts = LateParts(settings, engine_name=engine.name if engine else settings.engine)
    return Worker(Executor(settings, studio, parts))
