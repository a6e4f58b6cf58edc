"""A room, synthesised: early reflections, then noise that dies away, the treble first.

It works at half the rate, where a room has nothing more to say, and in blocks of fixed
length: the impulse response is cut into as many parts as it has blocks, each part is
multiplied with the spectrum of the block it belongs to (uniformly partitioned convolution).
Time and memory do not depend on how long the piece is.
"""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from app.engines.composer.render.resampling import RATE_HZ, Samples

Stereo = npt.NDArray[np.float32]
"""Shape (2, frames), left and right."""

BLOCK_FRAMES: Final = 22_050
"""What `Room.run` takes is a multiple of this; half of it, doubled, has small prime factors."""

_HALF_HZ: Final = RATE_HZ // 2
_HALF_BLOCK: Final = BLOCK_FRAMES // 2

_BANDS: Final = (
    (180.0, 700.0, 1.0, 1.1),
    (700.0, 2_600.0, 0.9, 1.0),
    (2_600.0, 6_500.0, 0.55, 0.6),
    (6_500.0, 11_025.0, 0.22, 0.35),
)
"""Edges in Hz, level, and decay time as a share of the room's; there is no bass, which would boom."""

_PRE_DELAY_S: Final = 0.014
_BUILD_UP_S: Final = 0.03

_REFLECTIONS: Final = (
    ((0.0113, 0.52), (0.0197, -0.41), (0.0271, 0.36), (0.0389, -0.30), (0.0523, 0.24), (0.0671, 0.19)),
    ((0.0137, -0.50), (0.0179, 0.43), (0.0313, -0.33), (0.0431, 0.28), (0.0487, -0.26), (0.0709, 0.18)),
)
"""Seconds after the direct sound and level, left and right; the walls turn the phase of some."""

_REFLECTED: Final = 0.25
"""Level of the reflections against the tail."""

_SEED: Final = 0x5EED

_HALF_BAND: Final = (0.31031, -0.08440, 0.03287, -0.01130, 0.00252)
"""Taps at the odd distances from the centre of a half-band filter (its centre is 0.5, the other even ones are zero)."""


class Room:
    """A reverb that is fed block by block and keeps what is still to be heard."""

    def __init__(self, room_s: float) -> None:
        """
        Args:
            room_s: Seconds in which the middle frequencies die away by 60 dB.
        """
        self._response = _spectra(room_s)
        self._heard: deque[npt.NDArray[np.complex64]] = deque(maxlen=len(self._response))
        self._ringing = np.zeros((2, _HALF_BLOCK), np.float32)
        self._before = np.zeros(4 * len(_HALF_BAND), np.float32)
        self._after = np.zeros((2, 2 * len(_HALF_BAND)), np.float32)

    def run(self, send: Samples) -> Stereo:
        """Return the room's answer, as long as `send`: a multiple of `BLOCK_FRAMES`, the next of its stream."""
        fed = np.concatenate((self._before, send))
        self._before = fed[-self._before.size :]
        answer = [self._block(block) for block in _halve(fed).reshape(-1, _HALF_BLOCK)]
        wet = np.concatenate((self._after, *answer), axis=1)
        self._after = wet[:, -self._after.shape[1] :]
        return _double(wet)

    def _block(self, block: Samples) -> Stereo:
        self._heard.appendleft(np.fft.rfft(block, 2 * _HALF_BLOCK).astype(np.complex64, copy=False))
        spectrum = self._heard[0] * self._response[0]
        for heard, part in zip(list(self._heard)[1:], self._response[1:], strict=False):
            spectrum += heard * part
        answer = np.fft.irfft(spectrum, 2 * _HALF_BLOCK).astype(np.float32, copy=False)
        now = answer[:, :_HALF_BLOCK] + self._ringing
        self._ringing = answer[:, _HALF_BLOCK:]
        return now


def impulse_response(room_s: float) -> Stereo:
    """Return the room's answer to one frame of 1, at half the rate; the tail has the energy 1 in each channel."""
    frames = round(room_s * _HALF_HZ)
    noise = np.random.default_rng(_SEED).standard_normal((2, frames), np.float32)
    spectrum = np.fft.rfft(noise)
    frequency_hz = np.fft.rfftfreq(frames, 1 / _HALF_HZ)
    time_s = np.arange(frames) / _HALF_HZ
    tail = np.zeros((2, frames), np.float32)
    for low_hz, high_hz, level, share in _BANDS:
        band = np.fft.irfft(spectrum * ((low_hz <= frequency_hz) & (frequency_hz < high_hz)), frames)
        tail += band * (level * 10 ** (-3 * time_s / (share * room_s)))
    tail *= np.minimum(1.0, time_s / _BUILD_UP_S)
    tail /= np.sqrt(np.sum(tail**2, axis=1, keepdims=True))

    response = np.zeros((2, frames + round(_PRE_DELAY_S * _HALF_HZ)), np.float32)
    response[:, -frames:] = tail
    for channel, reflections in enumerate(_REFLECTIONS):
        for after_s, level in reflections:
            response[channel, round(after_s * _HALF_HZ)] += level * _REFLECTED
    return response


@lru_cache(maxsize=4)
def _spectra(room_s: float) -> npt.NDArray[np.complex64]:
    """Return the parts of the impulse response as spectra, shape (parts, 2, bins)."""
    response = impulse_response(room_s)
    parts = math.ceil(response.shape[1] / _HALF_BLOCK)
    padded = np.zeros((2, parts * _HALF_BLOCK), np.float32)
    padded[:, : response.shape[1]] = response
    blocks = padded.reshape(2, parts, _HALF_BLOCK).transpose(1, 0, 2)
    return np.fft.rfft(blocks, 2 * _HALF_BLOCK).astype(np.complex64, copy=False)


def _halve(samples: Samples) -> Samples:
    """Return every second frame, band-limited; `2 * len(_HALF_BAND)` fewer, because the filter reaches both ways."""
    reach = len(_HALF_BAND)
    even, odd = samples[0::2], samples[1::2]
    frames = even.size - 2 * reach
    halved = 0.5 * even[reach : reach + frames]
    for tap, level in enumerate(_HALF_BAND):
        halved += level * odd[reach - 1 - tap : reach - 1 - tap + frames]
        halved += level * odd[reach + tap : reach + tap + frames]
    return halved


def _double(half: Stereo) -> Stereo:
    """Return twice as many frames, less those that the filter needs on either side."""
    reach = len(_HALF_BAND)
    frames = half.shape[1] - 2 * reach
    doubled = np.zeros((2, 2 * frames), np.float32)
    doubled[:, 0::2] = half[:, reach : reach + frames]
    between = doubled[:, 1::2]
    for tap, level in enumerate(_HALF_BAND):
        between += 2 * level * half[:, reach - tap : reach - tap + frames]
        between += 2 * level * half[:, reach + 1 + tap : reach + 1 + tap + frames]
    return doubled
