"""Stems: every player's WAV, in a ZIP that is the same each time."""

from __future__ import annotations

import array
import io
import math
import zipfile
from collections.abc import Iterator

import pytest

from app.audio import prove
from app.engines.composer.stems import zip_stems

RATE_HZ = 8_000


def hum(hz: float) -> bytes:
    """Return a second of a stereo tone."""
    samples = (int(9_000 * math.sin(2 * math.pi * hz * n / RATE_HZ)) for n in range(RATE_HZ))
    return array.array("h", (sample for each in samples for sample in (each, -each))).tobytes()


STEMS = (("01-melody-flute", hum(440)), ("02-bass-double-bass", hum(110)))


def zipped(*stems: tuple[str, bytes]) -> bytes:
    return zip_stems(stems, rate_hz=RATE_HZ, channels=2)


def test_each_player_has_a_wav_that_plays_exactly_these_samples() -> None:
    with zipfile.ZipFile(io.BytesIO(zipped(*STEMS))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["01-melody-flute.wav", "02-bass-double-bass.wav"]
        for entry, (_, pcm) in zip(archive.infolist(), STEMS, strict=True):
            wav = prove(archive.read(entry))
            assert (wav.format, wav.duration_s, wav.rate_hz, wav.channels) == ("wav", 1.0, RATE_HZ, 2)
            assert wav.content.endswith(pcm)


def test_the_same_stems_give_the_same_bytes_whenever_they_are_zipped(monkeypatch: pytest.MonkeyPatch) -> None:
    first = zipped(*STEMS)
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("sys.platform", "win32")

    assert zipped(*STEMS) == first


def test_the_files_can_be_read_by_whoever_unpacks_them() -> None:
    with zipfile.ZipFile(io.BytesIO(zipped(*STEMS))) as archive:
        assert all(entry.external_attr >> 16 == 0o644 for entry in archive.infolist())


def test_a_player_who_rests_throughout_is_left_out() -> None:
    with zipfile.ZipFile(io.BytesIO(zipped(STEMS[0], ("02-pad-choir", bytes(4 * RATE_HZ))))) as archive:
        assert archive.namelist() == ["01-melody-flute.wav"]


def test_stems_are_taken_one_by_one() -> None:
    alive = 0

    class Samples(bytes):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def players() -> Iterator[tuple[str, bytes]]:
        nonlocal alive
        for number in range(5):
            alive += 1
            assert alive <= 2, "that of the last round is let go only when the next one is there"
            yield f"0{number}-melody-flute", Samples(STEMS[0][1])

    assert zipped(*()) != zip_stems(players(), rate_hz=RATE_HZ, channels=2)
