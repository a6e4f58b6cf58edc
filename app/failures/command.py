"""`studio analyze`, which is also `python -m app.failures`: the diagnosis of an error, as JSON on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

import click

from app.failures import Diagnosis, Evidence
from app.failures import analyse as analyse_evidence
from app.failures.text import MAX_TEXT_CHARS, printable

_PART_BYTES: Final = 4 * MAX_TEXT_CHARS
"""Read of each end of the error at least: a character takes up to four bytes."""

_MOST_BYTES: Final = 2**31
"""Read of a pipe or a device; some of them never end."""

_STANDARD_INPUT: Final = "-"


@click.command()
@click.option("--job-id", help="Repeated in the answer.")
@click.option("--error", "error", help="The error, or - to read it from standard input.")
@click.option(
    "--error-file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the error from this file.",
)
@click.option("--config", "config", help="The settings of the run or the fields of the request, as a JSON object.")
def analyze(job_id: str | None, error: str | None, file: Path | None, config: str | None) -> None:
    """Say why something failed, and what helps.

    Prints the diagnosis as JSON. The error may be anything from one line to a whole log, in any encoding; of a long
    one the beginning and the end are read. It is data: nothing in it is run. A shell allows an argument some 128 KB
    on Linux; longer ones are for --error-file and standard input.
    """
    if (error is None) == (file is None):
        raise click.UsageError("Give the error with --error or with --error-file, one of the two.")
    text = _read(error, file)
    if not text.strip():
        raise click.UsageError("The error is empty: there is nothing to analyse.")
    told, exit_code = answer(Evidence(text, config=_config(config)), job_id)
    click.echo(json.dumps(told, indent=2))
    raise SystemExit(exit_code)


def answer(
    evidence: Evidence, job_id: str | None, *, analyse: Callable[[Evidence], Diagnosis] = analyse_evidence
) -> tuple[dict[str, object], int]:
    """Return what to print, and the exit code: 0, or 1 when the analyser itself has failed."""
    try:
        return analyse(evidence).to_json(None if job_id is None else printable(job_id)), 0
    except Exception as problem:  # noqa: BLE001 - whoever reads this reads JSON, whatever goes wrong
        details = printable(f"{type(problem).__name__}: {problem}")
        return {"error": "The failure could not be analysed.", "details": details}, 1


def _read(error: str | None, file: Path | None) -> str:
    if file is not None:
        try:
            with file.open("rb") as stream:
                return _ends(stream)
        except OSError as problem:
            raise click.UsageError(f"--error-file cannot be read: {problem.strerror}.") from None
    if error == _STANDARD_INPUT:
        try:
            return _ends(sys.stdin.buffer)
        except (AttributeError, OSError, ValueError):  # it is None when it was closed before
            raise click.UsageError("Standard input cannot be read.") from None
    return printable(error or "")


def _ends(stream: BinaryIO) -> str:
    """Return the beginning and the end, or everything where that is not more; any bytes are some text."""
    head, tail, read_bytes = stream.read(_PART_BYTES), b"", _PART_BYTES
    if stream.seekable():
        stream.seek(max(stream.seek(0, os.SEEK_END) - _PART_BYTES, len(head)))
    while (piece := stream.read(_PART_BYTES)) and read_bytes < _MOST_BYTES:
        tail = (tail + piece)[-_PART_BYTES:]
        read_bytes += len(piece)
    return (head + tail).decode("utf-8", "replace")


def _config(text: str | None) -> Mapping[str, object] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as problem:
        raise click.UsageError(f"--config must be a JSON object: {problem.msg} at character {problem.pos}.") from None
    except RecursionError:
        raise click.UsageError("--config is nested too deeply.") from None
    except ValueError:
        raise click.UsageError("--config holds a number with too many digits.") from None
    if not isinstance(value, dict):
        raise click.UsageError("--config must be a JSON object.")
    return value
