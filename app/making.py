"""`studio generate` and `studio song`: music from the command line, made here or by a service."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn, TypeVar, get_args

import click
import structlog
from pydantic import BaseModel, ValidationError

from app.audio import AUDIO_FORMATS, Audio, AudioFormat, prove, transcode
from app.client import Client, ClientError, Job
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
Command = TypeVar("Command", bound=Callable[..., object])

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

_MOST_LINE_CHARS: Final = 500


def _delivery(formats: Sequence[Format], *, otherwise: str) -> Callable[[Command], Command]:
    """Return the options that say where the music goes, and in which of the formats.

    Args:
        formats: What can be asked for.
        otherwise: What decides when neither `--format` nor an ending does, in the words of the help.
    """
    endings = ", ".join(ending for ending, each in _ENDINGS.items() if each in formats)
    to = click.option(
        "-o",
        "--output",
        "output",
        required=True,
        type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
        help=f"The file to write, or - for standard output. Its ending says the format: {endings}. {otherwise}",
    )
    of = click.option(
        "--format", "format", type=click.Choice(formats), help="The format, whatever the ending of the file is."
    )
    return lambda command: to(of(command))


def _usable_key(_: click.Context, __: click.Parameter, key: str | None) -> str | None:
    """Return the key without the line break that files end with; one that no header can carry is refused unseen."""
    key = (key or "").strip()
    if not (key.isascii() and (key.isprintable() or not key)):
        raise click.BadParameter("it holds characters that no key has.")
    return key or None


_url = click.option(
    "--url",
    metavar="ADDRESS",
    help="Have it made by the service there, e.g. https://studio.example; without it, the composer in this program "
    "makes it.",
)
_key = click.option(
    "--key",
    envvar="STUDIO_KEY",
    show_envvar=True,
    callback=_usable_key,
    help="The API key of a service that wants one. Others on this machine can see what a command line says: better "
    "set the variable.",
)


@click.command()
@click.argument("prompt")
@click.option("--duration", metavar="SECONDS", default="10", show_default=True, help="Length, 5 to 30.")
@click.option("--mood", help="Free text, e.g. relaxing.")
@click.option("--tempo", metavar="BPM", help="Beats per minute, 40 to 220.")
@click.option("--instruments", metavar="NAMES", help='With commas between them, e.g. "piano, strings".')
@click.option("--seed", type=int, help="Asks for the same piece again; it is drawn, and told, when left out.")
@_delivery(get_args(Format), otherwise="Without one it is WAV.")
@_url
@_key
def generate(
    prompt: str, output: Path, format: Format | None, url: str | None, key: str | None, **words: object
) -> None:
    """Make a clip of what PROMPT says, and write it to a file."""
    wanted = _wanted(output, format, get_args(Format)) or "wav"
    body = _valid(GenerateRequest, {"prompt": prompt, "format": wanted, **_given(words)})
    if url:
        _fetch(url, key, "/api/jobs", body, output)
    else:
        _compose(brief_of(body, wanted), output)


@click.command(short_help="Make a song of sections, and write it to a file.")
@click.argument("file", type=click.Path(dir_okay=False, exists=True, allow_dash=True, path_type=Path))
@_delivery(
    AUDIO_FORMATS,
    otherwise="It decides against the format that FILE names; without an ending that one counts, else it is WAV.",
)
@_url
@_key
def song(file: Path, output: Path, format: AudioFormat | None, url: str | None, key: str | None) -> None:
    """Make the song that FILE describes in JSON, and write it to a file.

    FILE may be - for standard input. It holds what POST /api/songs takes, such as

    \b
      {"style": "lo-fi hip hop", "tempo": 80,
       "sections": [{"name": "Intro", "duration": 8, "energy": 2},
                    {"name": "Verse", "duration": 16, "mood": "calm"}]}
    """
    wanted = _wanted(output, format, AUDIO_FORMATS)
    body = _valid(SongBody, _read(file) | _given({"format": wanted}))
    if url:
        _fetch(url, key, "/api/songs", body, output)
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
    _write(output, file.content)
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
    _write(output, track.content)
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


def _fetch(url: str, key: str | None, path: str, body: BaseModel, output: Path) -> None:
    bar = _progress()
    client = Client(url, key=key, tell=bar.tell)
    job: Job | None = None
    try:
        with bar:
            sent = body.model_dump(mode="json", exclude_none=True)
            job = client.submit(path, sent, idempotency_key=secrets.token_hex(16))
            for news in client.follow(job):
                job = news
                bar.show(job.message, job.progress)
            if job.status == "succeeded":
                with _placed(output) as file:
                    client.fetch(job, file)
    except ClientError as error:
        where = () if error.is_input and job is None else (client.whereabouts(job),)
        _fail(*error.lines, *where, exit_code=UNUSABLE if error.is_input else FAILED)
    except OSError as error:
        _fail(_unwritten(output, error), client.whereabouts(job))
    except KeyboardInterrupt:
        if job:
            _leave(client, job)
        raise
    if job.status != "succeeded":
        _fail(*job.reasons, *_kept(client, job), client.whereabouts(job))
    _tell(output, None, job.request.seed, job.remarks)


def _kept(client: Client, job: Job) -> Iterator[str]:
    """Yield where those sections are that were made all the same."""
    for section in job.sections or ():
        if section.audio_url:
            yield f"{section.name} is there: {client.address(section.audio_url)}"


def _leave(client: Client, job: Job) -> None:
    """Cancel a job that nobody waits for any more. One that is over stays: to cancel it would delete what it made."""
    if not job.is_final:
        try:
            client.cancel(job)
        except ClientError as error:
            _say("The job could not be cancelled.", *error.lines)
        else:
            return
    _say(client.whereabouts(job))


# ---------------------------------------------------------------------- input


def _read(file: Path) -> dict[str, object]:
    """Return the JSON object in the file."""
    try:
        with click.open_file(str(file), "rb") as stream:
            content = stream.read(_MOST_SONG_BYTES + 1)
    except OSError as error:
        _fail(f"{file} cannot be read: {error.strerror}.", exit_code=UNUSABLE)
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
        _fail(*(f"{_counted(each.field)} {each.message}." for each in field_errors(error)), exit_code=UNUSABLE)


def _counted(field: str) -> str:
    """Return the name of a field with its section as people count them, and as it is called when it has no name."""
    return re.sub(r"^sections\[(\d+)\]\.?", lambda found: f"Section {int(found[1]) + 1}: ", field)


def _wanted(output: Path, format: Format | None, formats: Sequence[Format]) -> Format | None:
    """Return the format: what is asked for, else what the file's ending says, else None.

    A place that nothing can be written to is told here, before the work begins.
    """
    if output == Path():
        _fail("Name the file to write.", exit_code=UNUSABLE)
    if str(output) == _STANDARD and sys.stdout is None:
        _fail("There is no standard output: name a file.", exit_code=UNUSABLE)
    if str(output) == _STANDARD and sys.stdout.isatty():
        _fail("Music would be written to the terminal: name a file, or pipe it on.", exit_code=UNUSABLE)
    try:
        if target := _replaced(output):
            tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        _fail(_unwritten(output, error))
    if format or str(output) == _STANDARD or not output.suffix:
        return format
    endings = {ending: each for ending, each in _ENDINGS.items() if each in formats}
    if output.suffix.lower() not in endings:
        _fail(f"No format ends in {output.suffix} here: use {', '.join(endings)}, or --format.", exit_code=UNUSABLE)
    return endings[output.suffix.lower()]


# ---------------------------------------------------------------------- output


def _write(output: Path, content: bytes) -> None:
    try:
        with _placed(output) as file:
            file.write(content)
    except OSError as error:
        _fail(_unwritten(output, error))


@contextmanager
def _placed(output: Path) -> Iterator[BinaryIO]:
    """Open a file of which nothing gets to `output` before it is whole; until then, what was there stays.

    Raises:
        OSError: one of the two cannot be written.
    """
    target = _replaced(output)
    if target is None:
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            with _opened(output) as stream:
                shutil.copyfileobj(file, stream)
        return
    begun = target.with_name(f".studio-{secrets.token_hex(8)}")  # short: a name may be as long as names can be
    try:
        with begun.open("xb") as new:
            yield new
        if target.exists():
            shutil.copymode(target, begun)
        begun.replace(target)
    finally:
        begun.unlink(missing_ok=True)


def _replaced(output: Path) -> Path | None:
    """Return which file a new one takes the place of: the one that links lead to, for they shall stay.

    None stands for what must be written to as it is: standard output, a pipe, a device.

    Raises:
        OSError: there is no getting there.
    """
    if str(output) == _STANDARD or (output.exists() and not output.is_file()):
        return None
    return Path(os.path.realpath(output))


def _opened(output: Path) -> BinaryIO:
    """Open what is written to as it is.

    Standard output gets a buffer of its own: what is left in Python's after an error, it would try to write at exit.
    """
    return open(sys.stdout.fileno(), "wb", closefd=False) if str(output) == _STANDARD else output.open("wb")


def _unwritten(output: Path, error: OSError) -> str:
    return f"{output} cannot be written: {error.strerror}."


def _tell(output: Path, duration_s: float | None, seed: int, remarks: Iterable[str]) -> None:
    length = "" if duration_s is None else f"{duration_s:.2f} s, "
    _say(*remarks, f"wrote {output} ({length}seed {seed})")


def _fail(*lines: str, exit_code: int = FAILED) -> NoReturn:
    first, *more = lines
    _say(f"Error: {first}")
    for line in more:
        click.echo(f"  {_plain(line)}", err=True)
    raise SystemExit(exit_code)


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(_plain(line), err=True)


def _plain(text: str) -> str:
    """Return a text on one line without what a terminal would obey or not show: files and services speak here too."""
    shown = "".join(character if character.isprintable() else " " for character in text[:_MOST_LINE_CHARS])
    return " ".join(shown.split())


class _Bar:
    """A progress bar on standard error, where that is a terminal; elsewhere a line for each thing that is begun."""

    _STEPS: Final = 1_000
    _ALL_THAT_IS_LEFT: Final = 0
    _OTHER_CHARS: Final = 24
    """Of the line, for the bar at its smallest, and what stands beside it. A line that wraps cannot be drawn anew."""

    def __init__(self) -> None:
        # Where there is no standard error, click would take standard output, to which the music may go.
        self._file = sys.stderr or io.StringIO()
        self._bar: ProgressBar[int] = click.progressbar(
            length=self._STEPS, label="Starting…", file=self._file, width=self._ALL_THAT_IS_LEFT
        )

    def __enter__(self) -> _Bar:
        self._bar.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.render_finish()

    def show(self, message: str, fraction: float | None) -> None:
        """Show how far it is; None leaves the bar where it is."""
        room = shutil.get_terminal_size().columns - self._OTHER_CHARS if self._file.isatty() else None
        self._bar.label = _plain(message)[:room]
        done = self._bar.pos if fraction is None else round(min(fraction, 1.0) * self._STEPS)
        self._bar.update(max(done - self._bar.pos, 0))
        self._bar.render_progress()

    def tell(self, message: str) -> None:
        """Show what is being waited for; that brings nothing further."""
        self.show(message, None)

    def report(self, progress: Progress) -> None:
        """Be the `Report` of an engine."""
        self.show(progress.message, progress.fraction)

    def part(self, name: str, number: int, of: int) -> Report:
        """Return the `Report` for one of several pieces, `number` from 0."""
        return lambda progress: self.show(f"{name} ({number + 1}/{of})", (number + (progress.fraction or 0.0)) / of)


def _progress() -> _Bar:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    return _Bar()
