"""Sounds at other pitches: nothing is heard that was not recorded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from app.engines.composer.render.resampling import RATE_HZ, Colour, Resampler, Samples

NEUTRAL = Colour(cutoff_hz=1e9)
FRAMES = 20_000


def tone(frequency_hz: float, *, rate_hz: float = RATE_HZ, frames: int = 60_000) -> Samples:
    return np.asarray(np.sin(2 * np.pi * frequency_hz / rate_hz * np.arange(frames)), np.float32)


def level_db(samples: npt.NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.mean(samples**2) * 2 + 1e-20))


def parts_db(samples: Samples, frequency_hz: float) -> tuple[float, float]:
    """Return the level of a frequency, and of everything else."""
    steady = samples[2_000:-2_000].astype(np.float64)
    turn = 2 * np.pi * frequency_hz / RATE_HZ * np.arange(steady.size)
    basis = np.stack((np.cos(turn), np.sin(turn)), axis=1)
    found = basis @ np.linalg.lstsq(basis, steady)[0]
    return level_db(found), level_db(steady - found)


@pytest.mark.parametrize("semitones", [-12, -5, -1, 0, 1, 3.3, 7, 12])
@pytest.mark.parametrize("recorded_hz", [440.0, 3_000.0, 9_000.0])
def test_a_tone_stays_a_tone_at_any_pitch(semitones: float, recorded_hz: float) -> None:
    resampler = Resampler.make(32_000 / RATE_HZ * 2 ** (semitones / 12), NEUTRAL)

    heard = resampler.run(tone(recorded_hz, rate_hz=32_000), FRAMES)

    wanted_db, rest_db = parts_db(heard, recorded_hz / 32_000 * resampler.step * RATE_HZ)
    assert wanted_db == pytest.approx(0.0, abs=0.1)
    assert rest_db < -70


def test_what_would_be_above_the_nyquist_rate_is_not_folded_back() -> None:
    heard = Resampler.make(2 ** (18 / 12), NEUTRAL).run(tone(9_000.0), FRAMES)

    assert level_db(heard[2_000:-2_000].astype(np.float64)) < -60


@pytest.mark.parametrize("rate_hz", [22_050, 24_000, 32_000, 44_100])
def test_every_pitch_is_in_tune(rate_hz: int) -> None:
    for cents in range(-1_200, 1_201, 7):
        step = rate_hz / RATE_HZ * 2 ** (cents / 1_200)
        assert abs(1_200 * np.log2(Resampler.make(step, NEUTRAL).step / step)) < 1.2


@pytest.mark.parametrize(("frequency_hz", "expected_db"), [(500.0, 0.0), (2_000.0, -3.0), (8_000.0, -24.1)])
def test_the_cutoff_falls_by_twelve_decibels_an_octave(frequency_hz: float, expected_db: float) -> None:
    heard = Resampler.make(1.0, Colour(cutoff_hz=2_000)).run(tone(frequency_hz), FRAMES)

    assert parts_db(heard, frequency_hz)[0] == pytest.approx(expected_db, abs=1.0)


def test_presence_lifts_three_kilohertz_alone() -> None:
    resampler = Resampler.make(1.0, Colour(cutoff_hz=1e9, presence_db=4.0))

    levels = [parts_db(resampler.run(tone(hz), FRAMES), hz)[0] for hz in (300.0, 3_000.0, 15_000.0)]

    assert levels == pytest.approx([0.0, 4.0, 0.0], abs=0.6)


def test_a_tilt_brightens_what_is_above_500_hz_octave_by_octave() -> None:
    resampler = Resampler.make(1.0, Colour(cutoff_hz=1e9, tilt_db=2.0))

    levels = [parts_db(resampler.run(tone(hz), FRAMES), hz)[0] for hz in (250.0, 2_000.0, 4_000.0, 12_000.0)]

    assert levels == pytest.approx([0.0, 4.0, 6.0, 8.0], abs=0.6)


def test_the_kernel_does_not_delay() -> None:
    click = np.zeros(4_000, np.float32)
    click[1_000] = 1

    assert [int(np.argmax(Resampler.make(step, NEUTRAL).run(click, 1_900))) for step in (0.8, 1.0, 2.0)] == [
        1_250,
        1_000,
        500,
    ]


def test_input_frames_is_all_that_is_read() -> None:
    resampler = Resampler.make(1.234, NEUTRAL)
    read = resampler.input_frames(1_000)
    noise = np.random.default_rng(1).standard_normal(read + 5_000).astype(np.float32)

    assert np.array_equal(resampler.run(noise, 1_000), resampler.run(noise[:read], 1_000))
