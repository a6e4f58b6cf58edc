"""The `studio` command."""

from __future__ import annotations

import hashlib
import importlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, get_args

import click
import msgspec

from app import create_worker
from app.engines import ENGINES, huggingface
from app.engines.engine import MAX_CLIP_S, MIN_CLIP_S, Brief, Progress
from app.engines.huggingface import HuggingFace, Probe
from app.errors import EngineError, EngineNotConfigured, StudioError
from app.jobs import Jobs
from app.jobs.job import Job, Status
from app.jobs.parts import open_parts
from app.retry import Deadline
from app.settings import Settings, SettingsError, is_caller, load

_SHOWN_CHARS = 100
_LARGEST_LIST = 1_000
_KEY_BYTES = 32
_LATE = {"analyze": "app.failures.command", "generate": "app.making", "song": "app.making"}


_INTERRUPTED = 130
"""The exit code of a program that Ctrl-C has ended, as shells have it."""


class _Commands(click.Group):
    """The commands, of which some are loaded when they are wanted: they bring much along."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise SystemExit(_INTERRUPTED) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LATE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _LATE:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(importlib.import_module(_LATE[cmd_name]), cmd_name)
        return command


@click.group(cls=_Commands)
def main() -> None:
    """Make music, and find out why it cannot be made."""


@main.command()
@click.option("--prompt", default="calm piano", show_default=True, help="What the piece should be.")
@click.option(
    "--duration",
    "duration_s",
    default=10.0,
    show_default=True,
    type=click.FloatRange(MIN_CLIP_S, MAX_CLIP_S),
    help="Length in seconds.",
)
@click.option(
    "--generate",
    "file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also make the piece and write it to this file.",
)
def probe(prompt: str, duration_s: float, file: Path | None) -> None:
    """Show what answers at HF_API_URL and how it would be called.

    Nothing is generated unless --generate is given.
    """
    settings = _settings()
    engine = huggingface.build(settings)
    if engine is None:
        _fail(EngineNotConfigured.title, EngineNotConfigured.hint)
    brief = Brief(prompt, duration_s, seed=0)
    try:
        _show(engine.probe(brief, deadline=Deadline.after(settings.hf_timeout_s)))
        if file:
            _generate(engine, settings, brief, file)
    except EngineError as error:
        _fail(error.title, error.detail, error.log_text, error.hint)


def _show(found: Probe) -> None:
    click.echo(f"found      {found.kind}")
    click.echo(f"at         {found.url}")
    if found.function is not None:
        click.echo(f"functions  {', '.join(found.functions)}")
        click.echo(f"would call {found.function}")
        width = max((len(name) for name, _ in found.mapping), default=0)
        for (name, field), value in zip(found.mapping, _values(found.sent), strict=False):
            click.echo(f"  {name.ljust(width)}  ← {field.ljust(11)} {_shortened(value)}")
    click.echo(f"would send {_shortened(found.sent)}")


def _values(sent: object) -> list[object]:
    return sent if isinstance(sent, list) else []


def _shortened(value: object) -> str:
    text = msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _generate(engine: HuggingFace, settings: Settings, brief: Brief, file: Path) -> None:
    def report(progress: Progress) -> None:
        click.echo(progress.message, err=True)

    piece = engine.generate(brief, deadline=Deadline.after(settings.hf_timeout_s), report=report).file
    file.write_bytes(piece.content)
    click.echo(f"wrote      {file}: {piece.duration_s:.2f} s of {piece.format.upper()}")


@main.command()
def worker() -> None:
    """Run jobs until the process is asked to stop (SIGTERM, SIGINT).

    The web processes hand them over in the database of STUDIO_DATABASE_URL.
    """
    settings = _settings()
    if settings.database_url is None:
        _fail("A worker needs STUDIO_DATABASE_URL; without it the web service runs its jobs itself.")
    names = (settings.engine, *settings.fallback_engines)
    if all(ENGINES[name].build(settings) is None for name in names):
        _fail(EngineNotConfigured.title, EngineNotConfigured.hint)
    create_worker(settings).run()


@main.group()
def jobs() -> None:
    """Look at jobs, cancel them, and ask for them again.

    They are those of STUDIO_DATABASE_URL or, without it, of the folder STUDIO_DATA_DIR.
    """


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@jobs.command(name="list")
@click.option("--status", type=click.Choice(get_args(Status)), help="Only those in this state.")
@click.option("--username", help="Only those with this label.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, _LARGEST_LIST), help="How many, newest first."
)
@_as_json
def list_jobs(status: Status | None, username: str | None, limit: int, as_json: bool) -> None:  # noqa: FBT001 - click's
    """List jobs, newest first."""
    with _jobs() as ours:
        found, _ = ours.page(None, username=username, status=status, limit=limit)
    if as_json:
        click.echo(_json([_described(job) for job in found]))
    else:
        _print_table(("ID", "STATUS", "ATTEMPT", "CREATED", "OWNER", "MESSAGE"), [_row(job) for job in found])


@jobs.command()
@click.argument("id")
@_as_json
def show(id: str, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Show all that is known about a job."""
    with _jobs() as ours:
        job = ours.get(id)
    if as_json:
        click.echo(_json(_described(job)))
    else:
        _print_table((), [(name, _shown(value)) for name, value in _described(job).items() if value is not None])


@jobs.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs: waiting ones at once, running ones within seconds.

    Jobs that are over stay what they are.
    """
    with _jobs() as ours:
        _print_table((), [_row(ours.cancel(each)) for each in ids])


@jobs.command()
@click.argument("id")
def retry(id: str) -> None:
    """Ask again for the piece of a job that failed or was cancelled, as a new job; of a song, for what is missing.

    It prints the new job's id.
    """
    with _jobs() as ours:
        job = ours.get(id)
        if job.status not in ("failed", "cancelled"):
            _fail(f"The job is {job.status}; only one that failed or was cancelled can be asked for again.")
        again = ours.again(job, owner=job.owner, request_id=f"cli-{secrets.token_hex(8)}")
    click.echo(again.job.id)


@main.group()
def keys() -> None:
    """Make API keys."""


@keys.command(name="new")
@click.argument("name")
def new_key(name: str) -> None:
    """Make a key for the caller NAME.

    It is printed this once and kept nowhere. While it replaces another one, both may be configured for NAME.
    """
    if not is_caller(name):
        _fail("A caller's name is 1 to 64 letters, digits, dots, hyphens and underscores.")
    key = f"studio_{secrets.token_urlsafe(_KEY_BYTES)}"
    entry = f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"
    click.echo(f"for the caller   {key}")
    click.echo(f"for the service  STUDIO_API_KEYS={entry}")
    click.echo("Several are separated by commas. The service cannot tell the key again.", err=True)


@contextmanager
def _jobs() -> Iterator[Jobs]:
    """Open the jobs of the settings; what goes wrong with them ends the command."""
    settings = _settings()
    from app.jobs.database import SQLITE_FILE

    file = settings.data_dir / SQLITE_FILE
    if settings.database_url is None and not file.exists():
        # Opening it would make one, and an empty list would look like an answer.
        _fail(f"There are no jobs: {file.absolute()} does not exist. Is STUDIO_DATA_DIR that of the service?")
    try:
        parts = open_parts(settings, engine_name=settings.engine)
        with closing(parts.database):
            yield parts.jobs
    except StudioError as error:
        _fail(error.title, error.detail, error.log_text, error.hint)


def _described(job: Job) -> dict[str, object]:
    """Return the job as an operator sees it: as the API's callers do, with what they need not know."""
    return {
        "id": job.id,
        "status": job.status,
        "message": job.message,
        "progress": job.progress,
        "queue_position": job.queue_position,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "retryable": job.retryable,
        "cancel_requested": job.cancel_requested,
        "engine": job.engine,
        "owner": job.owner,
        "created_at": _timestamp(job.created_at_s),
        "started_at": _timestamp(job.started_at_s),
        "finished_at": _timestamp(job.finished_at_s),
        "expires_at": _timestamp(job.expires_at_s),
        "request": job.request.to_json(),
        "request_id": job.request_id,
        "ticket": job.ticket,
        "error": job.error,
        "result": job.result and job.result.to_json(),
    }


def _row(job: Job) -> tuple[str, ...]:
    attempt = f"{job.attempt}/{job.max_attempts}"
    return job.id, job.status, attempt, _timestamp(job.created_at_s) or "", job.owner or "-", job.message


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = [heads, *rows] if heads else rows
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _shown(value: object) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _timestamp(unix_s: float | None) -> str | None:
    return None if unix_s is None else datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds")


def _settings() -> Settings:
    try:
        return load()
    except SettingsError as error:
        _fail("These settings cannot be used:", str(error))


def _fail(*lines: str) -> NoReturn:
    """Say what went wrong on standard error, and end with exit code 1."""
    for line in dict.fromkeys(line for line in lines if line):
        click.echo(line, err=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
