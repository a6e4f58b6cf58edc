"""The composer as an engine: what it delivers, whom it lets wait, what it tells."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from mido import MidiFile
from structlog.testing import capture_logs

from app.audio import Audio, prove
from app.engines.composer import ABILITIES, Composer
from app.engines.composer.plan import make_plan
from app.engines.composer.score import compose
from app.engines.engine import Brief, Document, Format, Progress, Take, ignore
from app.errors import Cancelled, UpstreamTimeout
from app.retry import Deadline

BRIEF = Brief("a lively waltz", 5.0, seed=7, instruments=("piano", "flute", "double bass"))
HALF_MINUTE_S = 30.0


@pytest.fixture(scope="module")
def composer() -> Composer:
    """Return one composer for all tests, whose sounds are decoded once."""
    return Composer(timeout_s=60)


def take_of(composer: Composer, brief: Brief, **changes: object) -> Take:
    return composer.generate(replace(brief, **changes), deadline=Deadline.after(HALF_MINUTE_S))  # type: ignore[arg-type]


def samples_of(wav: bytes) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.frombuffer(wav[44:], dtype="<i2")


# ---------------------------------------------------------------------- what it delivers


@pytest.mark.parametrize("duration_s", [5.0, 5.3, 10.123])
def test_the_sound_has_exactly_the_frames_of_its_duration(composer: Composer, duration_s: float) -> None:
    audio = take_of(composer, BRIEF, duration_s=duration_s).file

    assert isinstance(audio, Audio)
    assert (audio.format, audio.channels) == ("wav", 2)
    assert len(samples_of(audio.content)) == 2 * round(duration_s * audio.rate_hz)


def test_the_same_brief_gives_the_same_bytes(composer: Composer) -> None:
    fresh = Composer(timeout_s=60)

    for each in ("wav", "mid", "stems"):
        assert take_of(composer, BRIEF, format=each).file == take_of(fresh, BRIEF, format=each).file


def test_another_seed_is_another_piece(composer: Composer) -> None:
    assert take_of(composer, BRIEF, format="mid").file != take_of(composer, BRIEF, format="mid", seed=8).file


@pytest.mark.parametrize("format", ["mid", "stems", "flac"])
def test_the_format_does_not_change_the_piece(format: Format) -> None:
    assert make_plan(replace(BRIEF, format=format)) == make_plan(BRIEF)


def test_the_notes_are_those_of_the_piece(composer: Composer) -> None:
    notes = take_of(composer, BRIEF, format="mid").file

    assert isinstance(notes, Document)
    assert (notes.format, notes.media_type, notes.duration_s) == ("mid", "audio/midi", BRIEF.duration_s)
    file = MidiFile(file=io.BytesIO(notes.content))
    assert file.length == pytest.approx(BRIEF.duration_s, abs=0.002)
    for track, written in zip(compose(make_plan(BRIEF)).tracks, file.tracks[1:], strict=True):
        assert written.name == f"{track.role}: {track.instrument}"
        assert {event.note for event in written if event.type == "note_on"} == {note.pitch for note in track.notes}


def test_the_stems_are_the_players_and_sum_to_the_piece(composer: Composer) -> None:
    stems = take_of(composer, BRIEF, format="stems").file
    audio = take_of(composer, BRIEF).file

    assert isinstance(stems, Document)
    assert (stems.format, stems.media_type, stems.duration_s) == ("stems", "application/zip", BRIEF.duration_s)
    mix = samples_of(audio.content).astype(np.int32)
    total = np.zeros_like(mix)
    with zipfile.ZipFile(io.BytesIO(stems.content)) as archive:
        names = archive.namelist()
        for name in names:
            total += samples_of(prove(archive.read(name)).content)
    assert len(names) == len(set(names)) <= len(make_plan(BRIEF).players)
    assert all(name.endswith(".wav") for name in names)
    assert np.abs(total - mix).max() <= len(names)


# ---------------------------------------------------------------------- what it tells


def test_what_nobody_plays_is_remarked_upon(composer: Composer) -> None:
    take = take_of(composer, BRIEF, format="mid", instruments=("kazoo", "piano", "vuvuzela"))

    assert take.remarks == ('Nobody here plays "kazoo".', 'Nobody here plays "vuvuzela".')


def test_every_instrument_that_is_offered_can_be_had(composer: Composer) -> None:
    for name in ABILITIES.instruments:
        take = take_of(composer, BRIEF, format="mid", prompt="a pop song", instruments=(name,))

        file = MidiFile(file=io.BytesIO(take.file.content))
        assert take.remarks == ()
        assert any(track.name.endswith(f": {name}") for track in file.tracks), name


def test_the_log_tells_the_plan_and_nothing_of_the_brief(composer: Composer) -> None:
    with capture_logs() as lines:
        take_of(
            composer, BRIEF, format="mid", prompt="a secret wish", instruments=("secret", "piano"), mood="secretive"
        )

    (line,) = lines
    assert (line["event"], line["log_level"]) == ("planned piece", "info")
    assert {"style", "tonic", "mode", "tempo_bpm"} <= set(line)
    assert any(player.endswith(": piano") for player in line["players"])
    assert "secret" not in str(line)


def test_progress_runs_from_start_to_end(composer: Composer) -> None:
    told: list[Progress] = []

    composer.generate(BRIEF, deadline=Deadline.after(HALF_MINUTE_S), report=told.append)

    shares = [progress.fraction for progress in told if progress.fraction is not None]
    assert len(shares) > 4
    assert shares == sorted(shares)
    assert (shares[0], shares[-1] > 0.8) == (0.0, True)


# ---------------------------------------------------------------------- one at a time


@contextmanager
def rendering(composer: Composer) -> Iterator[None]:
    """Keep the composer busy with a render while the block runs."""
    busy, go_on = threading.Event(), threading.Event()

    def stop_while_rendering(progress: Progress) -> None:
        if progress.message == "Rendering…":
            busy.set()
            assert go_on.wait(HALF_MINUTE_S)

    with ThreadPoolExecutor(1) as pool:
        piece = pool.submit(
            composer.generate, BRIEF, deadline=Deadline.after(2 * HALF_MINUTE_S), report=stop_while_rendering
        )
        piece.add_done_callback(lambda _: busy.set())
        try:
            assert busy.wait(HALF_MINUTE_S)
            yield
        finally:
            go_on.set()
        assert piece.result(HALF_MINUTE_S).file.content


def test_who_has_to_wait_is_told_and_waits_no_longer_than_the_deadline(composer: Composer) -> None:
    told: list[str] = []

    with rendering(composer), pytest.raises(UpstreamTimeout, match="still busy"):
        composer.generate(BRIEF, deadline=Deadline.after(0.3), report=lambda progress: told.append(progress.message))

    assert told[-1] == "Waiting for the pieces before this one…"


def test_who_waits_can_be_cancelled(composer: Composer) -> None:
    cancelled = threading.Event()

    def cancel(progress: Progress) -> None:
        if progress.message.startswith("Waiting"):
            cancelled.set()

    with rendering(composer), pytest.raises(Cancelled):
        composer.generate(BRIEF, deadline=Deadline.after(HALF_MINUTE_S, cancelled=cancelled), report=cancel)


def test_notes_alone_wait_for_nobody(composer: Composer) -> None:
    with rendering(composer):
        assert take_of(composer, BRIEF, format="mid").file.content


def test_pieces_are_rendered_one_after_the_other(composer: Composer) -> None:
    renders: list[int] = []

    def ask(number: int) -> None:
        def report(progress: Progress) -> None:
            if progress.message == "Rendering…":
                renders.append(number)

        composer.generate(BRIEF, deadline=Deadline.after(HALF_MINUTE_S), report=report)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))

    assert len([number for number, _ in itertools.groupby(renders)]) == 4


def test_a_piece_that_fails_leaves_its_turn_to_the_next(composer: Composer) -> None:
    def fail(progress: Progress) -> None:
        if progress.message == "Rendering…":
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            composer.generate(BRIEF, deadline=Deadline.after(HALF_MINUTE_S), report=fail)

    assert composer.generate(BRIEF, deadline=Deadline.after(HALF_MINUTE_S), report=ignore).file.content


# ---------------------------------------------------------------------- what it carries


def test_a_service_carries_no_numbers_before_a_piece_sounds() -> None:
    program = """
import sys
from app import create_app
from app.settings import Settings

client = create_app(Settings.model_validate({"STUDIO_ENGINE": "composer"})).test_client()
assert client.get("/api/engines").status_code == 200
print([name for name in ("mido", "app.engines.composer.score") if name in sys.modules], file=sys.stderr)
assert client.post("/studio-generate", json={"prompt": "rain", "format": "mid"}).content_type == "audio/midi"
print([name for name in ("numpy", "soundfile") if name in sys.modules], file=sys.stderr)
"""

    process = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)

    assert process.stderr.splitlines() == ["[]", "[]"]
