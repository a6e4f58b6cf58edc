"""Play a key of a soundfont's preset as a sound to be stored, and measure how it sounds.

A stored sound has in it what happens up to its loop: tuning, filter, attack and fall. A loop
is exactly periodic and as loud at its end as at its start, whatever the preset does: the fall
of a held key is left to the player, as `Sound.decay_db_per_s`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

import numpy as np

from tools.soundfont import MODULATION_TO_CUTOFF, Layer, Sample, Signal

SUBSONIC_HZ: Final = 12.0
SHORTEST_LOOP_S: Final = 0.2
"""Of one that repeats a few periods: long enough that the encoder's noise does not become a tone."""
SHORTEST_NEW_LOOP_S: Final = 0.6
COMMON_LOOP_S: Final = (1.0, 1.8)
COMMON_LOOP_CENTS: Final = 1.5
"""Layers that are detuned on purpose get a common loop if that puts none of them out by more."""
BLEND_S: Final = 0.12
SETTLED_FRAMES: Final = 1_024
"""A loop begins so long after the envelope stands still: by then the filter, which works in blocks, does too."""
LATEST_STANDSTILL_S: Final = 1.2
AFTER_LOOP_S: Final = 0.05
"""How far a sound is stored beyond its loop's end: so that the encoder sees no edge there, and that the loop
can be moved to where it closes best once it has been encoded."""
ONSET_DB: Final = -26.0
SUSTAINED_ONSET_DB: Final = -60.0
"""Where a sound begins. Before the stroke of a plucked string there is noise that would make it late."""
MARGIN: Final = 64
STEADY_OVER_S: Final = 0.12
SHORTEST_STEADY_S: Final = 0.05
STEADY_SHARE: Final = 0.7
"""A sustained loop that beats is evened out to this share, in decibels: going round, a swell becomes a pulse."""
MOST_STEADYING_DB: Final = 12.0
BEGINNING_S: Final = 0.8
AGREEMENT_CENTS: Final = 8.0
"""How far apart the strong partials of a note may be for its pitch to be beyond doubt."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A note as it is stored; the loop, if any, goes from `loop_start` to the end of `samples`.

    Attributes:
        samples: What is heard.
        root: The pitch, as a MIDI number.
        loop_start: A frame of `samples`.
        after: What would follow after the end of the loop.
        decay_db_per_s: How fast a held note falls in its loop.
        release_s: Time of a fall by 60 dB after the key; None if it rings on.
    """

    samples: Signal
    root: float
    loop_start: int | None = None
    after: Signal = field(default_factory=lambda: np.zeros(0))
    decay_db_per_s: float = 0.0
    release_s: float | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """How notes are recorded: at which rate, and at most how long."""

    rate_hz: int
    longest_s: float

    @property
    def longest(self) -> int:
        """Frames."""
        return round(self.longest_s * self.rate_hz)

    @property
    def after(self) -> int:
        """Frames that are kept beyond a loop."""
        return round(AFTER_LOOP_S * self.rate_hz)

    def note(self, layers: Sequence[Layer], key: int, *, sustained: bool) -> Sound:
        """Return the note of a key; a `sustained` one does not fall in its loop, any other does."""
        ratios = [self.rate_hz / layer.sample.rate_hz / 2.0 ** (layer.transposition(key) / 12) for layer in layers]
        loops = [layer.loop for layer in layers if layer.loop is not None]
        if len(loops) < len(layers):
            return self.stroke(layers, key)
        periods = [(end - start) * ratio for (start, end), ratio in zip(loops, ratios, strict=True)]
        frames = self._common_loop(periods)
        if frames is None or max(end * ratio for (_, end), ratio in zip(loops, ratios, strict=True)) > self.longest:
            sound = self._with_new_loop(layers, ratios, key)
        else:
            sound = self._with_own_loop(layers, ratios, key, frames)
        return steadied(replace(sound, decay_db_per_s=0.0), self.rate_hz) if sustained else sound

    def stroke(self, layers: Sequence[Layer], key: int) -> Sound:
        """Return a note that is played once and dies away."""
        ratios = [self.rate_hz / layer.sample.rate_hz / 2.0 ** (layer.transposition(key) / 12) for layer in layers]
        signal = self._mix(layers, ratios, frames=self.longest, still=self.longest)
        end = 1 + int(np.flatnonzero(np.abs(signal) > 1e-3 * np.abs(signal).max())[-1])
        signal = signal[onset(signal, self.rate_hz, below_db=ONSET_DB) : end]
        cut_off = end > 0.97 * self.longest
        fade = min(len(signal) // 3, round(0.6 * self.rate_hz)) if cut_off else len(signal) // 20
        signal[-fade:] *= np.cos(np.linspace(0, np.pi / 2, fade)) ** 2
        return Sound(faded_in(signal, self.rate_hz), float(key), release_s=release_s(layers))

    def _common_loop(self, periods: Sequence[float]) -> int | None:
        """Return the frames of a loop in which every layer's own goes round a whole number of times.

        Each layer is detuned a little for it. What they share of that does not matter.
        """
        if max(periods) - min(periods) < 1e-9 * max(periods):
            return round(max(1, round(SHORTEST_LOOP_S * self.rate_hz / periods[0])) * periods[0])
        candidates = np.arange(*(round(limit_s * self.rate_hz) for limit_s in COMMON_LOOP_S))
        rounds = [np.maximum(1, np.round(candidates / period)) for period in periods]
        cents = np.array([1200 * np.log2(candidates / (k * p)) for k, p in zip(rounds, periods, strict=True)])
        apart = np.ptp(cents, axis=0)
        best = int(np.argmin(apart))
        return int(candidates[best]) if apart[best] < COMMON_LOOP_CENTS else None

    def _with_own_loop(self, layers: Sequence[Layer], ratios: Sequence[float], key: int, frames: int) -> Sound:
        """Keep the samples' loops: as many rounds of each as fill `frames`, tuned so that they do."""
        exact = []
        earliest = standstill_s(layers) * self.rate_hz
        for layer, ratio in zip(layers, ratios, strict=True):
            start, end = layer.loop or (0, 0)
            exact.append(frames / (max(1, round(frames / ((end - start) * ratio))) * (end - start)))
            earliest = max(earliest, start * exact[-1])
        start = int(np.ceil(earliest)) + SETTLED_FRAMES
        end = start + frames
        signal = self._mix(layers, exact, frames=end + self.after, still=start - SETTLED_FRAMES)
        first = onset(signal, self.rate_hz, below_db=ONSET_DB if dies_away(layers) else SUSTAINED_ONSET_DB)
        return Sound(
            faded_in(signal[first:end], self.rate_hz),
            key + 12 * float(np.log2(ratios[0] / exact[0])),
            start - first,
            signal[end:],
            decay_db_per_s=decay_db_per_s(layers, at_s=start / self.rate_hz),
            release_s=release_s(layers),
        )

    def _with_new_loop(self, layers: Sequence[Layer], ratios: Sequence[float], key: int) -> Sound:
        """Make a loop where the samples have none in common, or too late a one: level it, and blend its seam."""
        length = self.longest + self.after
        signal = self._mix(layers, ratios, frames=length, still=length)
        signal = signal[onset(signal, self.rate_hz, below_db=ONSET_DB if dies_away(layers) else SUSTAINED_ONSET_DB) :]
        end = len(signal) - self.after
        start, likeness = best_loop_start(signal, end, self.rate_hz)
        slope_db_per_s = fall_db_per_s(signal[start:end], self.rate_hz)
        time_s = np.maximum(0.0, (np.arange(len(signal)) - start) / self.rate_hz)
        level = signal * 10.0 ** (slope_db_per_s * time_s / 20)
        closed = seam_blended(level[:end], start, round(BLEND_S * self.rate_hz), likeness)
        return Sound(
            faded_in(closed, self.rate_hz),
            float(key),
            start,
            closed[start : start + self.after],
            decay_db_per_s=max(slope_db_per_s, decay_db_per_s(layers, at_s=start / self.rate_hz)),
            release_s=release_s(layers),
        )

    def _mix(self, layers: Sequence[Layer], ratios: Sequence[float], *, frames: int, still: int) -> Signal:
        """Return the layers together, as long as the longest.

        Args:
            layers: What to play.
            ratios: Frames of the result for each frame of a layer's sample: the pitch.
            frames: Of the result, at most; less where samples end and have no loop.
            still: Frame from which on filters and envelopes stay as they are.
        """
        total = np.zeros(frames)
        longest = 0
        for layer, ratio in zip(layers, ratios, strict=True):
            signal = resampled(recording(layer, frames / ratio), ratio, self.rate_hz)[:frames]
            time_s = np.minimum(np.arange(len(signal)), still) / self.rate_hz
            filtered = low_passed(signal, self.rate_hz, layer.cutoff_hz(time_s), layer.resonance)
            total[: len(signal)] += filtered * layer.volume.gain(time_s) * 10.0 ** (layer.gain_db / 20)
            longest = max(longest, len(signal))
        return total[:longest]


@cache
def decoded(sample: Sample) -> Signal:
    """Return the whole recording; presets share them."""
    return sample.decode()


def recording(layer: Layer, frames: float) -> Signal:
    """Return a layer's sample, with its loop repeated until there are enough frames."""
    first, left_out = layer.frames
    whole = decoded(layer.sample)
    if layer.loop is None:
        return whole[first : len(whole) - max(0, left_out)]
    start, end = layer.loop
    times = max(0, int(np.ceil((frames + MARGIN - end) / (end - start))))
    return np.concatenate([whole[first:end], np.tile(whole[start:end], times)])


def resampled(signal: Signal, ratio: float, rate_hz: int) -> Signal:
    """Return the signal with `ratio` times the frames, band limited, without what is too low to be heard.

    Args:
        signal: Anything.
        ratio: Kept to half a frame over the whole length.
        rate_hz: Of the result.
    """
    padded = np.concatenate([signal, np.zeros(2_048)])
    frames = round(len(padded) * ratio)
    spectrum = np.fft.rfft(padded)[: frames // 2 + 1]
    spectrum = np.pad(spectrum, (0, frames // 2 + 1 - len(spectrum)))
    relative = (np.fft.rfftfreq(frames, 1 / rate_hz) / SUBSONIC_HZ) ** 4
    result = np.fft.irfft(spectrum * relative / (1 + relative), frames)
    return np.asarray(result[: round(len(signal) * ratio)] * ratio)


def low_passed(signal: Signal, rate_hz: int, cutoff_hz: Signal, resonance: float) -> Signal:
    """Return the signal through a two-pole low-pass filter without its phase; `cutoff_hz` has a value per frame."""
    if cutoff_hz.min() > 0.45 * rate_hz:
        return signal
    size, hop = 1_024, 256
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 * (2 * hop / size)
    padded = np.pad(signal, (size, size))
    frequency_hz = np.fft.rfftfreq(size, 1 / rate_hz)
    result = np.zeros_like(padded)
    for start in range(0, len(padded) - size + 1, hop):
        middle = min(max(start - size // 2, 0), len(cutoff_hz) - 1)
        u = (frequency_hz / cutoff_hz[middle]) ** 2
        response = 1.0 / np.sqrt((1.0 - u) ** 2 + u / resonance**2)
        result[start : start + size] += np.fft.irfft(
            np.fft.rfft(padded[start : start + size] * window) * response, size
        )
    return result[size : size + len(signal)]


def best_loop_start(signal: Signal, end: int, rate_hz: int) -> tuple[int, float]:
    """Return the frame whose past is most like that of `end`, and the correlation of the two."""
    width = round(0.08 * rate_hz)
    first, last = end * 2 // 5, end - round(SHORTEST_NEW_LOOP_S * rate_hz)
    template = signal[end - width : end]
    past = signal[first - width : max(last, first + 1)]
    size = len(past) + width
    product = np.fft.irfft(np.fft.rfft(past, size) * np.conj(np.fft.rfft(template, size)), size)[
        : len(past) - width + 1
    ]
    energy = np.convolve(past**2, np.ones(width), mode="valid")
    likeness = product / np.sqrt(np.maximum(energy * np.sum(template**2), 1e-20))
    best = int(np.argmax(likeness))
    return first + best, float(likeness[best])


def seam_blended(signal: Signal, start: int, frames: int, likeness: float) -> Signal:
    """Return the signal whose last frames turn into those before the loop's start.

    The more alike the two are, the less they add up in power: the blend keeps the power of a sum
    of two signals with that correlation.
    """
    frames = min(frames, start)
    into = np.linspace(0.0, 1.0, frames)
    power = into**2 + (1 - into) ** 2 + 2 * max(likeness, 0.0) * into * (1 - into)
    blended = signal.copy()
    blended[-frames:] = (signal[-frames:] * (1 - into) + signal[start - frames : start] * into) / np.sqrt(power)
    return blended


def steadied(sound: Sound, rate_hz: int) -> Sound:
    """Return a sustained sound whose loop is about as loud at any moment; what leads to it is led to its level."""
    if sound.loop_start is None:
        return sound
    loop = sound.samples[sound.loop_start :]
    window = min(round(STEADY_OVER_S * rate_hz), len(loop) // 3)
    if window < SHORTEST_STEADY_S * rate_hz:
        return sound
    kernel = np.pad(np.hanning(window), (0, len(loop) - window))
    # The loop goes round, and so does the average: a cyclic convolution.
    power = np.fft.irfft(np.fft.rfft(loop**2) * np.abs(np.fft.rfft(kernel)), len(loop)) / np.sum(kernel)
    power = np.maximum(power, 1e-4 * np.mean(power))
    most = 10.0 ** (MOST_STEADYING_DB / 20)
    gain = np.clip((np.mean(power) / power) ** (STEADY_SHARE / 2), 1 / most, most)
    lead = min(window, sound.loop_start)
    leading = np.concatenate([np.ones(sound.loop_start - lead), np.geomspace(1.0, gain[0], lead)])
    return replace(
        sound,
        samples=sound.samples * np.concatenate([leading, gain]),
        after=sound.after * np.resize(gain, len(sound.after)),
    )


def fall_db_per_s(signal: Signal, rate_hz: int) -> float:
    """Return how fast the level falls, from a straight line through the levels of 50 ms."""
    block = round(0.05 * rate_hz)
    blocks = signal[: len(signal) // block * block].reshape(-1, block)
    level_db = 10 * np.log10(np.mean(blocks**2, axis=1) + 1e-12)
    return -float(np.polyfit(np.arange(len(level_db)) * 0.05, level_db, 1)[0])


def onset(signal: Signal, rate_hz: int, *, below_db: float) -> int:
    """Return the frame, two milliseconds early, in which the signal first comes so near to its peak."""
    heard = np.abs(signal) > 10.0 ** (below_db / 20) * np.abs(signal).max()
    return max(0, int(np.argmax(heard)) - rate_hz // 500)


def faded_in(signal: Signal, rate_hz: int) -> Signal:
    """Return the signal with its first two milliseconds, which lie before the onset, rising from nothing."""
    ramp = np.ones(len(signal))
    ramp[: rate_hz // 500] = np.sin(np.linspace(0, np.pi / 2, rate_hz // 500)) ** 2
    return np.asarray(signal * ramp)


def dies_away(layers: Sequence[Layer]) -> bool:
    """Tell whether a held key falls silent: plucked and struck things."""
    return layers[0].volume.sustain > 90.0


def standstill_s(layers: Sequence[Layer]) -> float:
    """Return when the attack is over and nothing moves fast any more: the filter, or a fall to a sustained level."""
    volume, modulation = layers[0].volume, layers[0].modulation
    attacked_s = volume.delay_s + volume.attack_s
    sustained_s = attacked_s + volume.hold_s + volume.sustain / volume.decay_db_per_s
    moved_s = (
        modulation.delay_s + modulation.attack_s + modulation.hold_s + modulation.decay_s * (1 - modulation.sustain)
    )
    moving_s = [sustained_s, *([moved_s] if layers[0].generators.get(MODULATION_TO_CUTOFF) else [])]
    return max([attacked_s, *(time_s for time_s in moving_s if time_s < LATEST_STANDSTILL_S)])


def decay_db_per_s(layers: Sequence[Layer], *, at_s: float) -> float:
    """Return how fast a held key falls in a loop that begins `at_s`: not at all once it is sustained."""
    volume = layers[0].volume
    fallen_db = -20 * np.log10(volume.gain(np.array([at_s])))[0]
    return 0.0 if fallen_db > volume.sustain - 0.5 else volume.decay_db_per_s


def release_s(layers: Sequence[Layer]) -> float:
    """Return the seconds of a fall by 60 dB after the key."""
    return float(np.clip(0.6 * layers[0].volume.release_s, 0.05, 3.0))


# Measuring ----------------------------------------------------------------------------------------


def k_weight(frequency_hz: Signal) -> Signal:
    """Return the power response of the K-weighting of ITU-R BS.1770, from its filters at 48 kHz."""
    z = np.exp(-2j * np.pi * np.minimum(frequency_hz, 24_000) / 48_000)
    shelf = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (
        1 - 1.69065929318241 * z + 0.73248077421585 * z**2
    )
    high_pass = (1 - 2 * z + z**2) / (1 - 1.99004745483398 * z + 0.99007225036621 * z**2)
    return np.asarray(np.abs(shelf * high_pass) ** 2)


def unrolled(sound: Sound, frames: int) -> Signal:
    """Return the sound as a held key lets it go on, silent after its end if it has no loop."""
    if sound.loop_start is None:
        return np.pad(sound.samples, (0, max(0, frames - len(sound.samples))))[:frames]
    loop = sound.samples[sound.loop_start :]
    times = max(0, -(-(frames - len(sound.samples)) // len(loop)))
    return np.concatenate([sound.samples, np.tile(loop, times)])[:frames]


def loudness_db(sound: Sound, rate_hz: int, *, transposed: float, window_s: float) -> float:
    """Return the K-weighted level of a note's loudest moment, `transposed` semitones from as it is stored.

    A moment lasts `window_s`, and is one of the note's beginning: what swells later is as soft as it begins.
    """
    speed = 2.0 ** (transposed / 12)
    window, hop = (round(length_s * rate_hz * speed) for length_s in (window_s, window_s / 4))
    held = unrolled(sound, round(BEGINNING_S * rate_hz * speed))
    size = 1 << window.bit_length()
    weight = k_weight(np.fft.rfftfreq(size, 1 / (rate_hz * speed)))
    powers = [
        2 * np.sum(np.abs(np.fft.rfft(held[start : start + window], size)) ** 2 * weight) / (size * window)
        for start in range(0, max(1, len(held) - window + 1), hop)
    ]
    return float(10 * np.log10(max(powers) + 1e-12))


def cents_off(sound: Sound, rate_hz: int) -> float | None:
    """Return by how many cents a note sounds higher than its `root`, or None if that cannot be told.

    Each of the first partials is looked for within a quarter tone of where it belongs. Their
    median counts if the strong ones agree.
    """
    start = sound.loop_start if sound.loop_start is not None else round(0.1 * rate_hz)
    held = unrolled(sound, start + round(1.5 * rate_hz))[max(0, start - round(0.2 * rate_hz)) :]
    size = 1 << 18
    magnitude = np.abs(np.fft.rfft(held * np.hanning(len(held)), size))
    fundamental_hz = 440 * 2.0 ** ((sound.root - 69) / 12)
    found = [
        _partial(magnitude, fundamental_hz * number * size / rate_hz)
        for number in range(1, 7)
        if fundamental_hz * number < 0.4 * rate_hz
    ]
    weights = np.array([peak for _, peak in found])
    cents = np.array([offset for offset, _ in found])
    strong = weights > 0.1 * weights.max()
    if weights.max() < 0.2 * magnitude.max() or np.ptp(cents[strong]) > AGREEMENT_CENTS:
        return None
    return float(np.average(cents[strong], weights=weights[strong]))


def _partial(magnitude: Signal, expected: float) -> tuple[float, float]:
    """Return how many cents the peak near an expected bin is off, and its height.

    A vibrato makes a broad peak: its middle counts.
    """
    bins = np.arange(int(expected * 2 ** (-60 / 1200)), int(expected * 2 ** (60 / 1200)) + 2)
    near = magnitude[bins]
    peak = float(near.max())
    middle = float(np.average(bins, weights=np.where(near > 0.4 * peak, near, 0.0)))
    return 1200 * float(np.log2(middle / expected)), peak
