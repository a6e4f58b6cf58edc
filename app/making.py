"""`studio generate` and `studio song`: music from the command line, made here or by a service."""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, get_args

import click
import structlog
from pydantic import BaseModel, ValidationError

from app.audio import Audio, prove, transcode
from app.client import Client, ClientError
from app.engines.composer import Composer
from app.engines.engine import Brief, Format, Progress, Report, Take
from app.errors import StudioError
from app.jobs.song import SongRequest
from app.retry import Deadline
from app.web.briefs import brief_of, song_of
from app.web.schemas import GenerateRequest, SongBody, field_errors

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

Model = TypeVar("Model", bound=BaseModel)

FAILED: Final = 1
UNUSABLE: Final = 2

_COMPOSER_TIMEOUT_S: Final = 3_600.0
_MOST_SONG_BYTES: Final = 64 * 1024
_STANDARD: Final = "-"
_ENDINGS: Final[Mapping[str, Format]] = {
    ".wav": "wav",
    ".flac": "flac",
    ".ogg": "ogg",
    ".oga": "ogg",
    ".mp3": "mp3",
    ".mid": "mid",
    ".midi": "mid",
    ".zip": "stems",
}

_output = click.option(
    "-o",
    "--output",
    "output",
    required=True,
    type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    help="The file to write, or - for standard output. Its ending says the format: "
    + ", ".join(sorted(_ENDINGS))
    + ".",
)
_format = click.option(
    "--format", "format", type=click.Choice(get_args(Format)), help="The format, whatever the ending."
)
_url = click.option(
    "--url", help="Have it made by the service there; without it, the composer in this program makes it."
)
_key = click.option(
    "--key",
    envvar="STUDIO_API_KEY",
    show_envvar=True,
    help="The API key of a service that wants one. Others on this machine can see what a command line says: better "
    "set the variable.",
)


@click.command()
@click.argument("prompt")
@click.option("--duration", default="10", show_default=True, help="Length in seconds, 5 to 30.")
@click.option("--mood", help="Free text, e.g. relaxing.")
@click.option("--tempo", help="Beats per minute, 40 to 220.")
@click.option("--instruments", help="Names, with commas between them.")
@click.option("--seed", type=int, help="Asks for the same piece again.")
@_output
@_format
@_url
@_key
def generate(
    prompt: str, output: Path, format: Format | None, url: str | None, key: str | None, **words: object
) -> None:
    """Make a clip of what PROMPT says, and write it to a file."""
    wanted = _wanted(output, format)
    body = _valid(GenerateRequest, {"prompt": prompt, "format": wanted, **_given(words)})
    if url:
        _fetch(Client(url, key=key), "/api/jobs", body, output)
    else:
        _compose(brief_of(body, wanted), output)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, exists=True, allow_dash=True, path_type=Path))
@_output
@_format
@_url
@_key
def song(file: Path, output: Path, format: Format | None, url: str | None, key: str | None) -> None:
    """Make the song that FILE describes in JSON, as for POST /api/songs, and write it to a file."""
    described = _read(file) | {"format": _wanted(output, format)}
    body = _valid(SongBody, described)
    if url:
        _fetch(Client(url, key=key), "/api/songs", body, output)
    else:
        _compose_song(song_of(body), output)


# ---------------------------------------------------------------------- here


def _compose(brief: Brief, output: Path) -> None:
    with _progress() as bar, _failures():
        take = _composed(brief, bar.report)
        file = take.file
        match brief.format:
            case "mid" | "stems":
                pass
            case wanted:
                file = transcode(file, wanted) if isinstance(file, Audio) else file
        bar.show("Done", 1.0)
    _write(output, [file.content])
    _tell(output, file.duration_s, brief.seed, take.remarks)


def _compose_song(request: SongRequest, output: Path) -> None:
    from app.mixdown import Part, mix_down

    remarks: dict[str, None] = {}

    def parts(bar: _Bar) -> Iterator[Part]:
        sections = request.placed()
        for number, section in enumerate(sections):
            take = _composed(section.brief, bar.part(section.name, number, len(sections)))
            remarks.update(dict.fromkeys(take.remarks))
            yield Part(
                prove(take.file.content),
                section.start_s,
                section.brief.duration_s,
                ring_s=take.ring_s,
                gain_db=section.gain_db,
            )

    with _progress() as bar, _failures():
        track = mix_down(parts(bar), format=request.format)
        bar.show("Done", 1.0)
    _write(output, [track.content])
    _tell(output, track.duration_s, request.seed, tuple(remarks))


def _composed(brief: Brief, report: Report) -> Take:
    return Composer(timeout_s=_COMPOSER_TIMEOUT_S).generate(
        brief, deadline=Deadline.after(_COMPOSER_TIMEOUT_S), report=report
    )


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except StudioError as error:
        _fail(error.title, error.detail, error.hint)


# ---------------------------------------------------------------------- by a service


def _fetch(client: Client, path: str, body: BaseModel, output: Path) -> None:
    job: Mapping[str, Any] | None = None
    try:
        with _progress() as bar:
            sent = body.model_dump(mode="json", exclude_none=True)
            job = client.submit(path, sent, idempotency_key=secrets.token_hex(16))
            for standing in client.follow(job):
                job = standing.job
                bar.show(standing.message, standing.progress)
        if job["status"] != "succeeded":
            _fail(*_reasons(job))
        _write(output, client.audio(job))
    except ClientError as error:
        _fail(*error.lines, exit_code=UNUSABLE if error.is_input else FAILED)
    except KeyboardInterrupt:
        if job:
            client.cancel(job)
        raise
    _tell(output, None, job["request"]["seed"], job["remarks"])


def _reasons(job: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is to be said of a job that has made nothing, the most important first."""
    yield str(job["message"])
    error = job["error"] or {}
    yield from (str(error[name]) for name in ("title", "detail", "hint") if error.get(name))
    for section in job["sections"] or ():
        if section["audio_url"]:
            yield f"{section['name']} is there: {section['audio_url']}"
    yield f"Job {job['id']}"


# ---------------------------------------------------------------------- input


def _read(file: Path) -> dict[str, object]:
    """Return the JSON object in the file."""
    with click.open_file(str(file), "rb") as stream:
        content = stream.read(_MOST_SONG_BYTES + 1)
    if len(content) > _MOST_SONG_BYTES:
        _fail(f"{file} is larger than {_MOST_SONG_BYTES // 1024} KiB.", exit_code=UNUSABLE)
    try:
        described = json.loads(content)
    except (ValueError, RecursionError) as error:
        _fail(f"{file} is not JSON: {error}", exit_code=UNUSABLE)
    if not isinstance(described, dict):
        _fail(f"{file} must hold a JSON object.", exit_code=UNUSABLE)
    return described


def _given(words: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in words.items() if value is not None}


def _valid(model: type[Model], fields: Mapping[str, object]) -> Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        _fail(*(f"{each.field} {each.message}." for each in field_errors(error)), exit_code=UNUSABLE)


def _wanted(output: Path, format: Format | None) -> Format:
    """Return the format: what is asked for, else what the file's ending says, else WAV.

    A place that nothing can be written to is told here, before the work begins.
    """
    if str(output) == _STANDARD and sys.stdout.isatty():
        _fail("Music would be written to the terminal: name a file, or pipe it on.", exit_code=UNUSABLE)
    if str(output) != _STANDARD and not os.access(output.parent, os.W_OK | os.X_OK):
        _fail(f"{output} cannot be written: there is no such folder, or you may not write there.")
    if format or str(output) == _STANDARD or not output.suffix:
        return format or "wav"
    known = _ENDINGS.get(output.suffix.lower())
    if known is None:
        _fail(f"No format ends in {output.suffix}: use {', '.join(_ENDINGS)}, or --format.", exit_code=UNUSABLE)
    return known


# ---------------------------------------------------------------------- output


def _write(output: Path, content: Iterable[bytes]) -> None:
    """Write the file whole, or leave what was there."""
    if str(output) == _STANDARD:
        for piece in content:
            sys.stdout.buffer.write(piece)
        return
    try:
        with tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False) as file:
            try:
                for piece in content:
                    file.write(piece)
                file.close()
                Path(file.name).chmod(0o666 & ~_umask())
                Path(file.name).replace(output)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        _fail(f"{output} cannot be written: {error.strerror}.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _tell(output: Path, duration_s: float | None, seed: int, remarks: Iterable[str]) -> None:
    for remark in remarks:
        click.echo(remark, err=True)
    length = "" if duration_s is None else f"{duration_s:.2f} s, "
    click.echo(f"wrote {output} ({length}seed {seed})", err=True)


def _fail(*lines: str, exit_code: int = FAILED) -> NoReturn:
    first, *more = lines
    click.echo(f"Error: {first}", err=True)
    for line in more:
        click.echo(f"  {line}", err=True)
    raise SystemExit(exit_code)


class _Bar:
    """A progress bar on standard error, where that is a terminal; elsewhere a line for each thing that is begun."""

    _STEPS: Final = 1_000

    def __init__(self) -> None:
        self._bar: ProgressBar[int] = click.progressbar(length=self._STEPS, label="Starting…", file=sys.stderr)

    def __enter__(self) -> _Bar:
        self._bar.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.render_finish()

    def show(self, message: str, fraction: float | None) -> None:
        """Show how far it is; None leaves the bar where it is."""
        self._bar.label = message
        done = self._bar.pos if fraction is None else round(fraction * self._STEPS)
        self._bar.update(max(done - self._bar.pos, 0))
        self._bar.render_progress()

    def report(self, progress: Progress) -> None:
        """Be the `Report` of an engine."""
        self.show(progress.message, progress.fraction)

    def part(self, name: str, number: int, of: int) -> Report:
        """Return the `Report` for one of several pieces, `number` from 0."""
        return lambda progress: self.show(f"{name} ({number + 1}/{of})", (number + (progress.fraction or 0.0)) / of)


def _progress() -> _Bar:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    return _Bar()
