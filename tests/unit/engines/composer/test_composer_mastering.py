"""Loudness and limiting, against an independent meter."""

from __future__ import annotations

import math

import numpy as np
import pyloudnorm
import pytest

from app.engines.composer.render.curves import STEP_FRAMES, Curve, per_frame
from app.engines.composer.render.mastering import (
    LOUDNESS_LUFS,
    PEAK,
    Meter,
    gain_curve,
    limit,
    loudness_lufs,
    to_pcm16,
)
from app.engines.composer.render.resampling import RATE_HZ
from app.engines.composer.render.reverb import Stereo

SECONDS = 6
FRAMES = SECONDS * RATE_HZ


def tones(*, loud: float = 0.2) -> Stereo:
    """Return a bass on the left, a treble on the right, some noise, and a quiet second."""
    time_s = np.arange(FRAMES) / RATE_HZ
    mix = np.stack([np.sin(2 * np.pi * hz * time_s) * loud for hz in (55, 3_000)])
    mix += 0.02 * np.random.default_rng(1).standard_normal(mix.shape)
    mix[:, :RATE_HZ] *= 0.01
    return mix.astype(np.float32)


def metered(mix: Stereo) -> Meter:
    meter = Meter()
    meter.add(mix)
    return meter


def reference_lufs(mix: Stereo | Curve) -> float:
    return float(pyloudnorm.Meter(RATE_HZ).integrated_loudness(mix.T.astype(np.float64)))


def mastered(mix: Stereo, *, fade_s: float = 0.0) -> Curve:
    curve = gain_curve(metered(mix), frames=mix.shape[1], fade_s=fade_s)
    return to_pcm16(mix, curve).reshape(-1, 2).T / 32_768


@pytest.mark.parametrize("frequency_hz", [40, 100, 1_000, 4_000, 12_000])
def test_the_meter_reads_tones_as_the_reference_does(frequency_hz: int) -> None:
    mix = np.tile(np.sin(2 * np.pi * frequency_hz * np.arange(FRAMES) / RATE_HZ) * 0.3, (2, 1)).astype(np.float32)

    assert loudness_lufs(metered(mix).power(FRAMES)) == pytest.approx(reference_lufs(mix), abs=0.1)


def test_the_meter_leaves_out_what_is_far_quieter_than_the_rest() -> None:
    assert loudness_lufs(metered(tones()).power(FRAMES)) == pytest.approx(reference_lufs(tones()), abs=0.1)


def test_silence_has_no_loudness() -> None:
    assert loudness_lufs(metered(np.zeros((2, FRAMES), np.float32)).power(FRAMES)) == -math.inf


@pytest.mark.parametrize("loud", [0.003, 0.2, 3.0])
def test_the_result_is_as_loud_as_it_shall_be(loud: float) -> None:
    assert reference_lufs(mastered(tones(loud=loud), fade_s=0.5)) == pytest.approx(LOUDNESS_LUFS, abs=0.3)


def test_peaks_are_turned_down_below_the_ceiling() -> None:
    mix = tones()
    mix[:, 2 * RATE_HZ] = 4
    mix[:, 3 * RATE_HZ : 3 * RATE_HZ + 400] *= 20

    result = mastered(mix)

    assert np.abs(result).max() <= PEAK + 1e-4
    assert reference_lufs(result) == pytest.approx(LOUDNESS_LUFS, abs=0.5)


def test_the_limiter_leaves_alone_what_is_below_the_ceiling() -> None:
    assert limit(np.full(500, 0.4), gain=2.0) == pytest.approx(np.full(501, 2.0))


def test_the_limiter_turns_down_before_the_peak_and_recovers_after_it() -> None:
    peaks = np.full(3_000, 0.1)
    peaks[1_000] = 2.0

    gain = limit(peaks, gain=1.0)

    assert gain[990:1_002].tolist() == sorted(gain[990:1_002], reverse=True)
    assert np.abs(np.diff(gain)).max() < 0.1, "no corner"
    assert np.diff(gain[1_001:]).min() > -1e-9
    assert gain[-1] == pytest.approx(1.0)


def test_the_limiter_holds_within_every_step() -> None:
    peaks = np.random.default_rng(1).exponential(0.5, 5_000)

    gain = per_frame(limit(peaks, gain=1.5)).reshape(-1, STEP_FRAMES)

    assert (gain.max(axis=1) * peaks).max() <= PEAK + 1e-6


def test_the_fade_ends_in_silence_and_starts_nowhere_else() -> None:
    curve = gain_curve(metered(tones()), frames=FRAMES, fade_s=1.0)
    last_second = curve[-RATE_HZ // STEP_FRAMES - 1 :]

    assert last_second.tolist() == sorted(last_second, reverse=True)
    assert curve[-1] == 0
    assert curve[RATE_HZ // STEP_FRAMES : -RATE_HZ // STEP_FRAMES - 2].min() > 0.9 * curve.max()


def test_without_a_fade_only_the_last_moment_is_bent() -> None:
    curve = gain_curve(metered(tones()), frames=FRAMES, fade_s=0.0)

    assert curve[-1] == 0
    assert curve[-10] == pytest.approx(curve.max())


def test_nothing_is_blown_up_without_limit() -> None:
    assert gain_curve(metered(tones(loud=0) * np.float32(1e-6)), frames=FRAMES, fade_s=0.0).max() < 32
