"""The `studio` command."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click
import msgspec

from app.engines import huggingface
from app.engines.engine import MAX_CLIP_S, MIN_CLIP_S, Brief, Progress
from app.engines.huggingface import HuggingFace, Probe
from app.errors import EngineError, EngineNotConfigured
from app.retry import Deadline
from app.settings import Settings, SettingsError, load

_SHOWN_CHARS = 100


@click.group()
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
    try:
        settings = load()
    except SettingsError as error:
        _fail("These settings cannot be used:", str(error))
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


def _fail(*lines: str) -> NoReturn:
    """Say what went wrong on standard error, and end with exit code 1."""
    for line in dict.fromkeys(line for line in lines if line):
        click.echo(line, err=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
