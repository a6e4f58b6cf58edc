"""Studio: text in, music out. `create_app` joins the parts and is the only place that knows them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from flask_openapi3 import OpenAPI

    from app.engines.engine import Engine
    from app.settings import Settings

VERSION: Final = "0.1.0"


def create_app(
    settings: Settings | None = None, *, engine: Engine | Literal["from settings"] | None = "from settings"
) -> OpenAPI:
    """Return the service as a WSGI application.

    Args:
        settings: The configuration; read from the environment when absent.
        engine: What makes the music. None is an engine that is not configured; by default
            `settings.engine` names it.
    Raises:
        SettingsError: the environment holds settings that cannot be used.
    """
    # Imported here and not above: whoever imports `app.errors` or `app.audio` also runs this
    # module, and a command-line tool or an engine should not carry a web framework for that.
    from flask_openapi3 import Info, OpenAPI

    from app import logs
    from app.engines import ENGINES
    from app.settings import load
    from app.studio import Studio
    from app.web import docs, engines, generate, guard, health, problems

    settings = settings or load()
    logs.configure(settings)
    built = {name: entry.build(settings) for name, entry in ENGINES.items()}
    if isinstance(engine, str):
        engine = built[settings.engine]
    studio = Studio(engine, max_active=settings.max_active)
    engine_name = engine.name if engine else settings.engine

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
    app.register_api(generate.blueprint(studio))
    configured = [name for name, each in built.items() if each is not None]
    app.register_api(engines.blueprint(ENGINES, configured=configured, in_use=engine_name))
    app.register_api(
        health.blueprint(version=VERSION, engine_name=engine_name, checks={"engine": health.engine_check(studio)})
    )
    app.register_blueprint(docs.blueprint())
    return app
