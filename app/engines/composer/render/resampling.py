"""Stored sounds at other pitches, band-limited and coloured in the same pass.

To read a sound at `step` input frames for each output frame, the step is taken as a
fraction M / L. Every M input frames then become L output frames through the same matrices:
each column holds the low-pass kernel, sampled where its output frame falls between the
input frames. A few products of matrices do the whole sound, which is several times as fast
as interpolating it frame by frame, and the kernel can be long enough to leave no audible
alias. The kernel is drawn from a frequency response, so an instrument's tone colour (softer
strokes are darker) costs nothing more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

Samples = npt.NDArray[np.float32]
"""One channel; full scale is 1."""

RATE_HZ: Final = 44_100
"""Of everything that is rendered."""

_SPAN_S: Final = 0.0016
"""Length of the kernel; with the window it makes every edge of the response 2.8 kHz wide."""

_EDGE_HZ: Final = 1_400.0
"""Half of that edge: what lies this far below the Nyquist rate passes, what lies above it is stopped by 70 dB."""

_EDGE_STEP_HZ: Final = 250.0
"""Edges are rounded down to this, so that neighbouring pitches share a kernel."""

_KAISER_BETA: Final = 6.76
_GRID_HZ: Final = 64 * RATE_HZ
"""Rate at which a kernel is tabulated; linear interpolation between its points errs by less than 90 dB below 5 kHz."""

_GRID_FRAMES: Final = 8_192
_PRESENCE_HZ: Final = 3_000.0
_TILT_HZ: Final = 500.0

_LEAST_COLUMNS: Final = 64
_MOST_COLUMNS: Final = 96
"""Of one matrix: smaller ones leave the processor idle, larger ones are mostly zeros."""

_PRODUCT_SIZE: Final = 200_000
"""Multiplications of one product: few enough that OpenBLAS starts no threads, which would wait for each other."""

_DENOMINATORS: Final = (96, 192, 384, 768)
"""Largest denominators to try, until one is in tune."""

_IN_TUNE: Final = 2 ** (0.3 / 1_200) - 1
"""Close to whole numbers the largest denominator may be farther off, by up to 1.2 cents."""


@dataclass(frozen=True, slots=True)
class Colour:
    """What is taken from a sound, and added to it.

    Attributes:
        cutoff_hz: Frequencies above fall by 12 dB an octave, without a shift of phase.
        presence_db: Level of the octave on either side of 3 kHz, where an instrument is told from the others.
        tilt_db: For each of the four octaves above 500 Hz: brighter than it was recorded, or darker.
    """

    cutoff_hz: float
    presence_db: float = 0.0
    tilt_db: float = 0.0

    def response(self, frequency_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the factor of each frequency."""
        low_pass = 1 / np.sqrt(1 + (frequency_hz / self.cutoff_hz) ** 4)
        octaves = np.log2(np.maximum(frequency_hz, 1.0))
        presence_db = self.presence_db * np.exp(-((octaves - math.log2(_PRESENCE_HZ)) ** 2))
        tilt_db = self.tilt_db * np.clip(octaves - math.log2(_TILT_HZ), 0.0, 4.0)
        return np.asarray(low_pass * 10 ** ((presence_db + tilt_db) / 20))


@dataclass(frozen=True, slots=True)
class Resampler:
    """A prepared change of pitch and colour; may be used for any number of sounds.

    Attributes:
        hop: Input frames of one cycle (M).
        cycle: Output frames of one cycle (L).
        reach: Input frames that the kernel reads on either side.
        parts: What makes some of the cycle's output frames: the first input frame that is read, counted from
            `reach - 1` frames before the cycle, and a matrix of shape (input frames, output frames).
        rows: Cycles of one product. Always as many, because another number may be rounded otherwise: a sound must
            not depend on how much of it is made at a time.
    """

    hop: int
    cycle: int
    reach: int
    parts: tuple[tuple[int, Samples], ...]
    rows: int

    @classmethod
    def make(cls, step: float, colour: Colour) -> Resampler:
        """Return the resampler that reads `step` input frames for each output frame; `step` is above 1/64."""
        fraction = _fraction(step)
        repeats = math.ceil(_LEAST_COLUMNS / fraction.denominator)
        hop, cycle = fraction.numerator * repeats, fraction.denominator * repeats
        rate_hz = RATE_HZ * hop / cycle
        reach = math.ceil(rate_hz * _SPAN_S / 2)

        whole, rest = np.divmod(np.arange(cycle) * hop, cycle)
        tap = np.arange(-reach + 1, reach + 1)
        edge_hz = min(RATE_HZ, rate_hz) / 2 - _EDGE_HZ
        kernel = _kernel(colour, edge_hz - edge_hz % _EDGE_STEP_HZ)
        taps = _look_up(kernel, np.abs(tap[:, None] - rest / cycle) * (_GRID_HZ / rate_hz)) / rate_hz
        parts = []
        for frames in np.array_split(np.arange(cycle), math.ceil(cycle / _MOST_COLUMNS)):
            first, last = whole[frames[0]], whole[frames[-1]]
            matrix = np.zeros((last - first + 2 * reach, frames.size), np.float32)
            matrix[whole[frames] - first + tap[:, None] + reach - 1, np.arange(frames.size)] = taps[:, frames]
            parts.append((int(first), matrix))
        largest = max(matrix.size for _, matrix in parts)
        return cls(hop, cycle, reach, tuple(parts), max(1, _PRODUCT_SIZE // largest))

    @property
    def step(self) -> float:
        """Input frames for each output frame, exactly."""
        return self.hop / self.cycle

    def input_frames(self, frames: int) -> int:
        """Return how many input frames a run of `frames` output frames reads at most."""
        return self._cycles(frames) * self.hop + self.reach

    def run(self, sound: npt.NDArray[np.int16] | Samples, frames: int) -> Samples:
        """Return `frames` output frames on the scale of `sound`; before and after it is silence."""
        cycles = self._cycles(frames)
        padded = np.zeros(cycles * self.hop + 2 * self.reach, np.float32)
        read = sound[: padded.size - self.reach + 1]
        padded[self.reach - 1 : self.reach - 1 + read.size] = read

        out = np.empty((cycles, self.cycle), np.float32)
        column = 0
        for first, matrix in self.parts:
            height, width = matrix.shape
            windows = as_strided(padded[first:], (cycles, height), (self.hop * padded.itemsize, padded.itemsize))
            # Windows overlap, which matrix products do not take: they are copied.
            products = windows.reshape(-1, self.rows, height) @ matrix
            out[:, column : column + width] = products.reshape(cycles, width)
            column += width
        return out.reshape(-1)[:frames]

    def _cycles(self, frames: int) -> int:
        return math.ceil(frames / self.cycle / self.rows) * self.rows


def _fraction(step: float) -> Fraction:
    """Return a fraction near `step`, with the smallest denominator that is in tune."""
    exact = Fraction(step)
    fraction = exact
    for denominator in _DENOMINATORS:
        fraction = exact.limit_denominator(denominator)
        if abs(fraction / exact - 1) < _IN_TUNE:
            break
    return fraction


@lru_cache(maxsize=256)
def _kernel(colour: Colour, edge_hz: float) -> npt.NDArray[np.float64]:
    """Return half of the kernel, from its centre to where it ends, `_GRID_HZ` points a second; read only."""
    frequency_hz = np.asarray(np.fft.rfftfreq(_GRID_FRAMES, 1 / _GRID_HZ), np.float64)
    response = np.where(frequency_hz < edge_hz, colour.response(frequency_hz), 0.0)
    window = np.kaiser(round(_SPAN_S * _GRID_HZ) | 1, _KAISER_BETA)
    half = window[window.size // 2 :]
    # A point more than the kernel has, so that its last tap has a right neighbour too.
    return np.append(np.fft.irfft(response)[: half.size] * half * _GRID_HZ, [0.0, 0.0])


def _look_up(table: npt.NDArray[np.float64], position: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the table between its points; beyond its end it is zero."""
    position = np.minimum(position, table.size - 2)
    left = position.astype(np.intp)
    return np.asarray(table[left] + (position - left) * (table[left + 1] - table[left]))
