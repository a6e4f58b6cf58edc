"""Loudness and peaks: measured while the mix is made, then one gain curve for all of it.

The curve is the same for every track, so that stems which are mastered with it add up to
the mix. That rules out whatever bends the wave itself: a limiter that looks ahead turns
down instead, early enough and slowly enough not to be heard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from app.engines.composer.render.curves import STEP_FRAMES, Curve, mean_before, per_frame, times_s
from app.engines.composer.render.resampling import RATE_HZ
from app.engines.composer.render.reverb import Stereo

LOUDNESS_LUFS: Final = -15.0
PEAK: Final = 0.89
"""No sample is larger, as a share of full scale."""

HOP_FRAMES: Final = RATE_HZ // 10
"""Loudness is measured in blocks of four hops, each a hop later (ITU-R BS.1770-4, annex 1)."""

_HOP_STEPS: Final = HOP_FRAMES // STEP_FRAMES
_BLOCK_HOPS: Final = 4
_ABSOLUTE_GATE_LUFS: Final = -70.0
_RELATIVE_GATE_LU: Final = -10.0
_OFFSET_LU: Final = -0.691
_MOST_GAIN_DB: Final = 30.0
"""What is left nearly silent on purpose is not blown up into noise."""

_CLOSE_LU: Final = 0.02
_MOST_ROUNDS: Final = 8
_LOOK_AHEAD_STEPS: Final = 8
_RECOVERY_DB_PER_S: Final = 40.0
_EDGE_S: Final = 0.003
"""The first and the last moment of every piece: a wave that is cut off anywhere else clicks."""

Pcm = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class _Biquad:
    """A second-order filter by its coefficients at 48 kHz, as the recommendation prints them (b0, b1, b2, a1, a2)."""

    b0: float
    b1: float
    b2: float
    a1: float
    a2: float

    def power(self, frequency_hz: Curve) -> Curve:
        """Return the factor of the power at each frequency."""
        delay = np.exp(-2j * np.pi * frequency_hz / 48_000)
        response = (self.b0 + self.b1 * delay + self.b2 * delay**2) / (1 + self.a1 * delay + self.a2 * delay**2)
        return np.asarray(np.abs(response) ** 2)


_HEAD: Final = _Biquad(1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585)
_HIGH_PASS: Final = _Biquad(1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621)


class Meter:
    """Measures a mix that is handed over piece by piece."""

    def __init__(self) -> None:
        frequency_hz = np.asarray(np.fft.rfftfreq(HOP_FRAMES, 1 / RATE_HZ), np.float64)
        # The spectrum is one-sided: all but its ends stand for two frequencies.
        weight = _HEAD.power(frequency_hz) * _HIGH_PASS.power(frequency_hz) * 2 / HOP_FRAMES**2
        self._weight = weight.astype(np.float32)
        self._hops: list[float] = []
        self._peaks: list[npt.NDArray[np.float32]] = []

    def add(self, mix: Stereo) -> None:
        """Measure the next part of the mix; its length is a multiple of `HOP_FRAMES` and of `STEP_FRAMES`."""
        steps = np.abs(mix).max(axis=0).reshape(-1, STEP_FRAMES)
        self._peaks.append(steps.max(axis=1))
        for first in range(0, mix.shape[1], HOP_FRAMES):
            spectrum = np.fft.rfft(mix[:, first : first + HOP_FRAMES])
            power = spectrum.real**2 + spectrum.imag**2
            self._hops.append(float((power @ self._weight).sum()))

    def power(self, frames: int) -> Curve:
        """Return the K-weighted power of each whole hop in the first `frames` frames, both channels added."""
        return np.array(self._hops[: frames // HOP_FRAMES])

    def peaks(self, frames: int) -> Curve:
        """Return the largest sample of each step in the first `frames` frames."""
        return np.concatenate(self._peaks)[: math.ceil(frames / STEP_FRAMES)].astype(np.float64)


def loudness_lufs(power: Curve) -> float:
    """Return the integrated loudness of hops, in LUFS; of silence, minus infinity."""
    sums = np.cumsum(np.concatenate(([0.0], power)))
    blocks = (sums[_BLOCK_HOPS:] - sums[:-_BLOCK_HOPS]) / _BLOCK_HOPS
    gate = 10 ** ((_ABSOLUTE_GATE_LUFS - _OFFSET_LU) / 10)
    blocks = blocks[blocks > gate]
    if not blocks.size:
        return -math.inf
    blocks = blocks[blocks > blocks.mean() * 10 ** (_RELATIVE_GATE_LU / 10)]
    return _OFFSET_LU + 10 * math.log10(blocks.mean())


def gain_curve(meter: Meter, *, frames: int, fade_s: float) -> Curve:
    """Return the gain that makes the mix as loud as it shall be, a point every `STEP_FRAMES`.

    Args:
        meter: What measured the mix.
        frames: Length of the piece; what was measured beyond is not heard.
        fade_s: Length of the fade at its end.
    """
    power, peaks = meter.power(frames), meter.peaks(frames)
    fade = _fade(frames, fade_s=fade_s)
    gain_db = 0.0
    curve = fade
    # Limiting and fading cost loudness, and how much depends on the gain.
    for _ in range(_MOST_ROUNDS):
        heard = power * np.mean(curve[: power.size * _HOP_STEPS].reshape(-1, _HOP_STEPS) ** 2, axis=1)
        missing_db = LOUDNESS_LUFS - loudness_lufs(heard)
        if abs(missing_db) < _CLOSE_LU:
            break
        gain_db = min(_MOST_GAIN_DB, gain_db + missing_db)
        curve = limit(peaks, gain=10 ** (gain_db / 20)) * fade
    return curve


def limit(peaks: Curve, *, gain: float) -> Curve:
    """Return `gain`, turned down around each peak that it would lift above `PEAK`.

    Args:
        peaks: Largest sample of each step.
        gain: Where nothing needs to be turned down.
    Returns:
        A point before each step and one after the last: steps + 1.
    """
    allowed = np.full(peaks.size + 1, gain)
    # The curve is straight between two points, so both ends of a step must be low enough for it.
    ceiling = PEAK / np.maximum(peaks, PEAK / gain)
    allowed[:-1] = ceiling
    allowed[1:] = np.minimum(allowed[1:], ceiling)

    ahead = np.concatenate((allowed, np.full(_LOOK_AHEAD_STEPS, gain)))
    lowest = np.min(np.lib.stride_tricks.sliding_window_view(ahead, _LOOK_AHEAD_STEPS + 1), axis=1)
    # A gain that rises in a straight line of decibels is the lowest of the lines from all points before.
    rise_db = _RECOVERY_DB_PER_S * STEP_FRAMES / RATE_HZ * np.arange(lowest.size)
    recovering = 10 ** ((np.minimum.accumulate(20 * np.log10(lowest) - rise_db) + rise_db) / 20)
    # The mean of the points before is never above the lowest of those ahead, and has no corner.
    return mean_before(recovering, _LOOK_AHEAD_STEPS)


def to_pcm16(mix: Stereo, curve: Curve) -> Pcm:
    """Return the mix as interleaved little-endian 16-bit samples, one after another.

    Args:
        mix: Some steps of the piece.
        curve: The gain before each of these steps, and that after the last.
    """
    gain = per_frame(curve)[: mix.shape[1]]
    scaled = np.rint(mix * (gain * np.float32(32_767)))
    return np.clip(scaled, -32_768, 32_767).T.astype("<i2").reshape(-1)


def _fade(frames: int, *, fade_s: float) -> Curve:
    time_s = times_s(frames)
    left_s = np.maximum(0.0, frames / RATE_HZ - time_s)
    edges = np.minimum(1.0, np.minimum(time_s, left_s) / _EDGE_S)
    return np.asarray(edges * np.sin(np.pi / 2 * np.minimum(1.0, left_s / max(fade_s, _EDGE_S))) ** 2)
