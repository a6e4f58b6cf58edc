"""The sound pack: complete, small, licensed, and what its manifest says."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from app.engines.composer.instruments import INSTRUMENTS
from app.engines.composer.score.drums import GENERAL_MIDI
from app.engines.composer.styles import Drum
from tools.cut_sounds import MOMENT_S, Cut, encoded
from tools.sampling import Sound, loudness_db

SOUNDS = Path(__file__).parents[2] / "app/engines/composer/sounds"
MAX_PACK_BYTES = 4_000_000
MAX_STEP_DB = 1.5
LOUDNESS_DB = -20.0
MAX_SPREAD_DB = 3.0
MAX_LATENCY_S = 0.02
KITS = [name for name, row in INSTRUMENTS.items() if "drums" in row.roles]
MELODIC = [name for name in INSTRUMENTS if name not in KITS]

HATS: tuple[Drum, ...] = ("hat", "pedal hat", "open hat")

Signal = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Zone:
    low: int
    high: int
    root: float
    file: str
    start: int
    frames: int
    loop_start: int | None
    gain_db: float
    decay_db_per_s: float
    release_s: float | None
    choke: int | None


@dataclass(frozen=True, slots=True)
class File:
    frames: int
    rate_hz: int
    sha256: str


MANIFEST = json.loads((SOUNDS / "pack.json").read_text(encoding="utf-8"))
FILES = {name: File(**file) for name, file in MANIFEST["files"].items()}
ZONES = {name: [Zone(**zone) for zone in zones] for name, zones in MANIFEST["instruments"].items()}
ALL_ZONES = [zone for zones in ZONES.values() for zone in zones]


@cache
def decoded(name: str) -> Signal:
    samples, _ = soundfile.read(SOUNDS / name)
    return np.asarray(samples, dtype=np.float64)


def sound(zone: Zone) -> Signal:
    return decoded(zone.file)[zone.start : zone.start + zone.frames]


def level_db(zone: Zone, pitch: float) -> float:
    """Return how loud a note is, from its encoded sound."""
    stored = Sound(sound(zone), zone.root, zone.loop_start)
    rate_hz = FILES[zone.file].rate_hz
    return zone.gain_db + loudness_db(stored, rate_hz, transposed=pitch - zone.root, window_s=MOMENT_S)


def test_the_pack_is_small() -> None:
    assert sum(file.stat().st_size for file in SOUNDS.iterdir()) <= MAX_PACK_BYTES


def test_its_licence_lies_beside_it() -> None:
    notice = (SOUNDS / "NOTICE.md").read_text(encoding="utf-8")
    for line in ("Michael Cowgill", "Frank Wen", "The above copyright notice and this permission notice shall be"):
        assert line in notice


def test_files_are_those_of_the_manifest_and_each_is_played() -> None:
    assert {path.name for path in SOUNDS.glob("*.ogg")} == set(FILES) == {zone.file for zone in ALL_ZONES}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_the_one_that_was_cut(name: str) -> None:
    data = (SOUNDS / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == FILES[name].sha256
    info = soundfile.info(SOUNDS / name)
    assert (info.frames, info.samplerate, info.channels) == (FILES[name].frames, FILES[name].rate_hz, 1)


def test_every_instrument_is_there() -> None:
    assert set(ZONES) == set(INSTRUMENTS)


@pytest.mark.parametrize("name", MELODIC)
def test_zones_cover_the_range_without_a_gap(name: str) -> None:
    zones, row = ZONES[name], INSTRUMENTS[name]
    assert (zones[0].low, zones[-1].high) == (row.lowest, row.highest)
    assert all(below.high + 1 == above.low for below, above in itertools.pairwise(zones))
    assert all(zone.low <= zone.high for zone in zones)


@pytest.mark.parametrize("name", KITS)
def test_a_kit_has_every_drum_that_is_written_for_it(name: str) -> None:
    pitches = [zone.low for zone in ZONES[name]]
    assert set(GENERAL_MIDI.values()) <= set(pitches)
    assert len(set(pitches)) == len(pitches)
    assert all(zone.low == zone.high == zone.root and zone.release_s is None for zone in ZONES[name])
    assert {zone.low for zone in ZONES[name] if zone.choke} == {GENERAL_MIDI[hat] for hat in HATS}


def test_zones_lie_within_their_files_and_loops_within_their_zones() -> None:
    for zone in ALL_ZONES:
        assert 0 <= zone.start < zone.start + zone.frames <= FILES[zone.file].frames
        assert zone.loop_start is None or 0 < zone.loop_start < zone.frames


@pytest.mark.parametrize("name", MELODIC)
def test_held_notes_die_away_unless_the_instrument_sustains(name: str) -> None:
    for zone in ZONES[name]:
        endless = zone.loop_start is not None and zone.decay_db_per_s == 0
        assert endless == INSTRUMENTS[name].sustained


@pytest.mark.parametrize("name", MELODIC)
def test_loops_close_without_a_click(name: str) -> None:
    for zone in ZONES[name]:
        if zone.loop_start is None:
            continue
        once = sound(zone)
        seam = np.concatenate([once[-400:], once[zone.loop_start : zone.loop_start + 400]])
        bends = np.abs(np.diff(seam, 2))
        # As bent as the sound itself is at its most bent, nearly.
        assert bends[398:401].max() < 1.5 * np.sort(bends)[-12]


@pytest.mark.parametrize("name", MELODIC[::3])
def test_neighbouring_zones_are_about_as_loud(name: str) -> None:
    for below, above in itertools.pairwise(ZONES[name]):
        assert abs(level_db(below, below.high) - level_db(above, above.low)) <= MAX_STEP_DB


@pytest.mark.parametrize("name", MELODIC)
def test_instruments_are_about_as_loud_as_each_other(name: str) -> None:
    pitch = (INSTRUMENTS[name].lowest + INSTRUMENTS[name].highest) // 2
    zone = next(zone for zone in ZONES[name] if pitch <= zone.high)
    assert level_db(zone, pitch) == pytest.approx(LOUDNESS_DB, abs=MAX_SPREAD_DB)


@pytest.mark.parametrize("name", [name for name in INSTRUMENTS if not INSTRUMENTS[name].sustained])
def test_struck_and_plucked_sounds_are_not_late(name: str) -> None:
    for zone in ZONES[name]:
        stroke = np.abs(sound(zone))
        onset = int(np.argmax(stroke > 0.1 * stroke.max()))
        assert onset / FILES[zone.file].rate_hz <= MAX_LATENCY_S


def test_the_same_sound_is_encoded_as_the_same_bytes() -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 30_000)
    first, second = (encoded(noise, Cut()) for _ in range(2))
    assert first == second
    decoded_again, _ = soundfile.read(io.BytesIO(first))
    assert len(decoded_again) == len(noise)
