"""Held notes: from a pack made here, whose sounds are known, and from the real one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.engines.composer.instruments import INSTRUMENTS
from app.engines.composer.render.desk import VIBRATOS
from app.engines.composer.render.resampling import RATE_HZ, Colour, Samples
from app.engines.composer.render.sampler import Sampler, Sound, Vibrato

NEUTRAL = Colour(cutoff_hz=1e9)
TONE_HZ = 441.0
"""A loop of it is a whole number of frames."""

ROOT = 69


def zone(**changes: float | str | None) -> dict[str, float | str | None]:
    plain: dict[str, float | str | None] = {
        "low": 0, "high": 127, "root": ROOT, "file": "tone.wav", "start": 0, "frames": RATE_HZ, "loop_start": 22_000,
        "gain_db": 0.0, "decay_db_per_s": 0.0, "release_s": 0.2, "choke": None,
    }  # fmt: skip
    return plain | changes


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of one tone of 441 Hz, one second of it."""
    tone = 0.5 * np.sin(2 * np.pi * TONE_HZ / RATE_HZ * np.arange(2 * RATE_HZ))
    soundfile.write(tmp_path / "tone.wav", tone, RATE_HZ)
    manifest = {
        "format": 1,
        "files": {"tone.wav": {"frames": tone.size, "rate_hz": RATE_HZ}},
        "instruments": {
            "organ": [zone()],
            "piano": [zone(decay_db_per_s=20.0)],
            "drums": [zone(loop_start=None, release_s=None)],
            "split": [zone(low=40, high=59, gain_db=-6.0), zone(low=60, high=80)],
        },
    }
    (tmp_path / "pack.json").write_text(json.dumps(manifest))
    return tmp_path


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) * 2))


def pitch_hz(samples: Samples) -> float:
    """Return the frequency of a tone, from where it crosses zero upwards."""
    up = np.flatnonzero((samples[:-1] < 0) & (samples[1:] >= 0))
    crossings = up + samples[up] / (samples[up] - samples[up + 1])
    return float(RATE_HZ * (crossings.size - 1) / (crossings[-1] - crossings[0]))


@pytest.mark.parametrize(("pitch", "expected_hz"), [(69, 441.0), (81, 882.0), (62, 441 * 2 ** (-7 / 12))])
def test_it_plays_the_pitch(pack: Path, pitch: int, expected_hz: float) -> None:
    held = Sampler(pack=pack).hold(Sound("organ", pitch, NEUTRAL), frames=RATE_HZ)

    assert pitch_hz(held) == pytest.approx(expected_hz, rel=3e-4)


def test_detuning_is_in_cents(pack: Path) -> None:
    held = Sampler(pack=pack).hold(Sound("organ", 69, NEUTRAL, detune_cents=50), frames=RATE_HZ)

    assert 1_200 * np.log2(pitch_hz(held) / TONE_HZ) == pytest.approx(50, abs=0.6)


def test_a_held_note_goes_on_through_its_loop_without_a_seam(pack: Path) -> None:
    held = Sampler(pack=pack).hold(Sound("organ", 69, NEUTRAL), frames=5 * RATE_HZ)

    assert held.size >= 5 * RATE_HZ
    steepest = 0.5 * 2 * np.pi * TONE_HZ / RATE_HZ
    assert np.abs(np.diff(held[100:])).max() < 1.01 * steepest


def test_what_dies_away_falls_from_its_loop_on(pack: Path) -> None:
    held = Sampler(pack=pack).hold(Sound("piano", 69, NEUTRAL), frames=3 * RATE_HZ)
    seconds = [
        level_db(held[first : first + 4_410]) for first in (4_410, 22_050, 22_050 + RATE_HZ, 22_050 + 2 * RATE_HZ)
    ]

    assert np.diff(seconds) == pytest.approx([-1.0, -20.0, -20.0], abs=0.6)


def test_what_has_died_away_has_an_end(pack: Path) -> None:
    sampler = Sampler(pack=pack)

    assert sampler.hold(Sound("piano", 69, NEUTRAL), frames=60 * RATE_HZ).size < 5.1 * RATE_HZ
    assert sampler.hold(Sound("drums", 69, NEUTRAL), frames=60 * RATE_HZ).size == RATE_HZ


def test_a_zone_plays_its_own_pitches_at_its_own_level(pack: Path) -> None:
    sampler = Sampler(pack=pack)
    low, high = (sampler.hold(Sound("split", pitch, NEUTRAL), frames=22_050)[500:] for pitch in (59, 60))

    assert level_db(high) - level_db(low) == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize(("pitch", "expected"), [(20, 40), (59, 40), (60, 60), (110, 60)])
def test_beyond_the_range_the_nearest_zone_plays(pack: Path, pitch: int, expected: int) -> None:
    assert Sampler(pack=pack).zone("split", pitch).low == expected


def test_an_instrument_that_is_not_in_the_pack_is_a_mistake(pack: Path) -> None:
    with pytest.raises(KeyError):
        Sampler(pack=pack).hold(Sound("kazoo", 69, NEUTRAL), frames=1)


def test_vibrato_swings_by_its_depth_at_its_rate_once_the_note_has_settled(pack: Path) -> None:
    vibrato = Vibrato(depth_cents=14, rate_hz=5.0, delay_s=0.3, growth_s=0.4)
    held = Sampler(pack=pack).hold(Sound("organ", 81, NEUTRAL, vibrato=vibrato), frames=3 * RATE_HZ)

    hop = RATE_HZ // 100
    track = np.array([pitch_hz(held[first : first + 2 * hop]) for first in range(0, 3 * RATE_HZ - 2 * hop, hop)])
    cents = 1_200 * np.log2(track / (2 * TONE_HZ))

    assert np.abs(cents[1:28]).max() < 1.5, "straight at first"
    assert np.abs(cents[80:]).max() == pytest.approx(14, abs=3)
    swings = np.abs(np.fft.rfft(cents[80:280]))
    assert np.argmax(swings) * 100 / 200 == pytest.approx(5.0, abs=0.5)


def test_a_note_that_ends_before_its_vibrato_is_straight(pack: Path) -> None:
    sampler = Sampler(pack=pack)
    swinging = sampler.hold(Sound("organ", 69, NEUTRAL, vibrato=Vibrato(14, delay_s=0.5)), frames=4_410)

    assert np.array_equal(swinging, sampler.hold(Sound("organ", 69, NEUTRAL), frames=4_410))


def test_a_note_is_made_once(pack: Path) -> None:
    sampler = Sampler(pack=pack)
    long = sampler.hold(Sound("organ", 69, NEUTRAL), frames=2 * RATE_HZ)

    assert sampler.hold(Sound("organ", 69, NEUTRAL), frames=RATE_HZ) is long


@pytest.mark.parametrize("vibrato", [None, Vibrato(14)])
@pytest.mark.parametrize("pitch", [45, 64, 69, 70, 93])
def test_a_longer_note_starts_exactly_as_the_shorter_one_did(pack: Path, pitch: int, vibrato: Vibrato | None) -> None:
    """What was asked for before must not change a piece by a single bit."""
    sampler, sound = Sampler(pack=pack), Sound("piano", pitch, NEUTRAL, vibrato=vibrato)
    short = sampler.hold(sound, frames=RATE_HZ // 2)
    long = sampler.hold(sound, frames=2 * RATE_HZ)

    assert long.size > short.size
    assert np.array_equal(long[: short.size], short)


def test_what_is_kept_is_bounded_in_bytes(pack: Path) -> None:
    limit_bytes = 4_000_000
    sampler = Sampler(pack=pack, cache_bytes=limit_bytes)

    for pitch in range(30, 90):
        sampler.hold(Sound("organ", pitch, NEUTRAL), frames=2 * RATE_HZ)
        assert sampler.cached_bytes <= limit_bytes

    assert sampler.cached_bytes > limit_bytes / 2


def test_what_is_larger_than_the_bound_is_played_all_the_same(pack: Path) -> None:
    sampler = Sampler(pack=pack, cache_bytes=1_000)

    assert sampler.hold(Sound("organ", 69, NEUTRAL), frames=RATE_HZ).size >= RATE_HZ
    assert sampler.cached_bytes == 0


def test_what_was_thrown_out_comes_back_the_same(pack: Path) -> None:
    sampler, sound = Sampler(pack=pack, cache_bytes=1_000_000), Sound("piano", 60, NEUTRAL)
    first = sampler.hold(sound, frames=RATE_HZ)
    for pitch in range(61, 80):
        sampler.hold(Sound("piano", pitch, NEUTRAL), frames=RATE_HZ)

    again = sampler.hold(sound, frames=RATE_HZ)

    assert again is not first
    assert np.array_equal(again, first)


def test_nobody_can_change_what_is_kept(pack: Path) -> None:
    held = Sampler(pack=pack).hold(Sound("organ", 69, NEUTRAL), frames=RATE_HZ)

    with pytest.raises(ValueError, match="read-only"):
        held[0] = 1


def test_every_instrument_plays_its_whole_range() -> None:
    sampler = Sampler()
    for name, instrument in INSTRUMENTS.items():
        if instrument.roles == ("drums",):
            continue
        for pitch in (instrument.lowest, (instrument.lowest + instrument.highest) // 2, instrument.highest):
            held = sampler.hold(Sound(name, pitch, Colour(12_000)), frames=RATE_HZ // 2)

            assert np.isfinite(held).all()
            assert 0.01 < np.abs(held).max() < 2.0, f"{name} {pitch}"


def test_vibratos_are_those_of_instruments() -> None:
    assert set(VIBRATOS) <= set(INSTRUMENTS)
    assert all(INSTRUMENTS[name].sustained or name == "fretless bass" for name in VIBRATOS)
