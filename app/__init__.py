"""Studio: text in, music out. `create_app` joins the parts and is the only place that knows them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from flask import Flask
    from flask_openapi3 import OpenAPI

    from app.engines.engine import Engine
    from app.jobs.executor import Embedded, Worker
    from app.jobs.parts import LateParts
    from app.settings import Settings
    from app.studio import Studio
    from app.web.events import Streams
    from app.web.jobs import OpenJobs

VERSION: Final = "0.1.0"

_EXTENSION: Final = "studio"


class Background:
    """What goes on in a serving process beside its requests. The server starts and stops it: see `gunicorn.conf.py`."""

    def __init__(self, settings: Settings, studio: Studio, parts: LateParts, streams: Streams) -> None:
        self._settings = settings
        self._studio = studio
        self._parts = parts
        self._streams = streams
        self._executor: Embedded | None = None

    def start(self) -> None:
        """Begin, in the process that serves the requests: threads do not survive a fork."""
        if self._settings.runs_jobs:
            from app.jobs.executor import Embedded, Executor

            self._executor = Embedded(Executor(self._settings, self._studio, self._parts))
            self._executor.start()

    def health(self) -> str | None:
        """Return why jobs are not run although this service should do so, or None."""
        return self._executor.health() if self._executor else None

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
) -> OpenAPI:
    """Return the service as a WSGI application.

    Args:
        settings: The configuration; read from the environment when absent.
        engine: What makes the music. None is an engine that is not configured; by default
            `settings.engine` names it.
        jobs: Opens what keeps the jobs; by default what the settings name.
    Raises:
        SettingsError: the environment holds settings that cannot be used.
    """
    # Imported here and not above: whoever imports `app.errors` or `app.audio` also runs this
    # module, and a command-line tool or an engine should not carry a web framework for that.
    from flask_openapi3 import Info, OpenAPI

    from app import logs
    from app.engines import ENGINES
    from app.jobs.parts import LateParts
    from app.settings import load
    from app.studio import Studio
    from app.web import callers, docs, engines, events, generate, guard, health, problems
    from app.web import jobs as web_jobs

    settings = settings or load()
    logs.configure(settings)
    built = {name: entry.build(settings) for name, entry in ENGINES.items()}
    if isinstance(engine, str):
        engine = built[settings.engine]
    studio = Studio(engine, max_active=settings.max_active)
    engine_name = engine.name if engine else settings.engine
    parts = LateParts(settings, engine_name=engine_name)
    jobs = jobs or (lambda: parts().jobs)
    streams = events.Streams(limit=settings.max_streams)
    aside = Background(settings, studio, parts, streams)

    app = OpenAPI(
        __name__,
        info=Info(title="Studio", version=VERSION, summary=docs.SUMMARY, description=docs.DESCRIPTION),
        static_folder=None,
        doc_ui=False,
        **problems.DOCUMENTATION,
    )
    app.url_map.merge_slashes = False
    guard.protect(app, deadline_s=settings.deadline_s)
    problems.register(app, scrub=logs.Scrubber(settings.secrets))
    callers.protect(app, settings.api_key_digests)
    app.register_api(generate.blueprint(studio, jobs))
    app.register_api(web_jobs.blueprint(jobs, studio, streams))
    configured = [name for name, each in built.items() if each is not None]
    app.register_api(engines.blueprint(ENGINES, configured=configured, in_use=engine_name))
    app.register_api(
        health.blueprint(
            version=VERSION,
            engine_name=engine_name,
            checks={
                "engine": health.engine_check(studio),
                "jobs": health.jobs_check(jobs),
                "executor": aside.health,
            },
        )
    )
    app.register_blueprint(docs.blueprint())
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
    from app.studio import Studio

    settings = settings or load()
    logs.configure(settings)
    if isinstance(engine, str):
        engine = ENGINES[settings.engine].build(settings)
    studio = Studio(engine, max_active=settings.max_active)
    parts = LateParts(settings, engine_name=engine.name if engine else settings.engine)
    return Worker(Executor(settings, studio, parts))
