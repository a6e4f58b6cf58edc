"""Measures that tell music from beeps, of sound and of scores.

The measures of sound know nothing of the composer. Their definitions were fixed on five
signals that nobody would call music, which `test_composer_measures.py` keeps:

| measure | sine beeps | square beeps | triad | arpeggio | noise | good pieces |
|---|---|---|---|---|---|---|
| `top_four_share` | .99 | .85 | .74 | .81 | .02 | .40–.72 |
| `entropy` | .13 | .26 | .28 | .26 | .94 | .31–.53 |
| `peaks` | 1 | 17 | 3 | 4 | 283 | 10–86 |
| `chroma_change` | .67 | .60 | 0 | .01 | .03 | .24–.49 |
| `bass_share` | 0 | 0 | 0 | 0 | .006 | ≥ .04 |
| `width` | 0 | 0 | 0 | 0 | 0 | ≥ .14 |

Samples are floats from -1 to 1, of shape (frames,) where one channel is asked for (`mono`),
or (frames, 2) (`stereo`). Shares are from 0 to 1.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pyloudnorm
from numpy.typing import NDArray

from app.engines.composer.instruments import Role
from app.engines.composer.score import Chord, Note, Score

Samples = NDArray[np.floating]

FFT_SIZE: Final = 2048
"""Samples in a frame of a spectrum: 46 ms at 44.1 kHz, about as long as the shortest note."""
CHROMA_FFT_SIZE: Final = 8192
"""Longer, because neighbouring semitones at 130 Hz are 8 Hz apart."""
RUB_S: Final = 0.25
"""A dissonance that is shorter is a passing note."""


# Sound ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sound:
    """The figures of one recording; each is explained at the function of its name."""

    top_four_share: float
    entropy: float
    peaks: float
    bass_share: float
    centroid_hz: float
    chroma_change: float
    width: float
    loudness_lufs: float
    highest: float
    silent_share: float


MUSIC: Final[Mapping[str, tuple[float, float]]] = {
    "top_four_share": (0.25, 0.73),
    "entropy": (0.29, 0.60),
    "peaks": (6, 120),
    "bass_share": (0.04, 0.95),
    "chroma_change": (0.10, 0.65),
    "width": (0.14, 0.90),
    "loudness_lufs": (-15.5, -14.5),
    "highest": (0.3, 0.9),
    "silent_share": (0.0, 0.03),
}
"""Between which figures, both included, music of this service lies.

A little wider than the good pieces of the table, because the shortest pieces have few chords and
the calmest few notes; no signal of the table comes through, though.
"""


def sound(stereo: Samples, rate_hz: int) -> Sound:
    mono = stereo.mean(axis=1)
    short, long = spectra(mono, rate_hz), spectra(mono, rate_hz, CHROMA_FFT_SIZE)
    return Sound(
        top_four_share=top_four_share(short),
        entropy=entropy(short),
        peaks=peaks(short),
        bass_share=bass_share(short),
        centroid_hz=centroid_hz(short),
        chroma_change=chroma_change(long),
        width=width(stereo),
        loudness_lufs=loudness_lufs(stereo, rate_hz),
        highest=float(np.abs(stereo).max()),
        silent_share=silent_share(stereo, rate_hz),
    )


def faults(of: Sound) -> list[str]:
    """Return the figures that lie outside `MUSIC`, as a person would write them: none is good."""
    figures = {name: getattr(of, name) for name in MUSIC}
    return [
        f"{name} {figures[name]:.3g} not in {low:g}–{high:g}"
        for name, (low, high) in MUSIC.items()
        if not low <= figures[name] <= high
    ]


@dataclass(frozen=True, slots=True)
class Spectra:
    """Power spectra of overlapping Hann-windowed frames.

    Attributes:
        power: Of shape (frames, bins).
        bin_hz: Distance of two bins.
        hop_s: Distance of two frames.
    """

    power: Samples
    bin_hz: float
    hop_s: float

    @property
    def frequencies_hz(self) -> Samples:
        return np.asarray(np.arange(self.power.shape[1]) * self.bin_hz)

    @property
    def sounding(self) -> Samples:
        """The frames within 60 dB of the loudest, each scaled to the sum 1."""
        sums = self.power.sum(axis=1)
        loud = sums > sums.max() * 1e-6
        return np.asarray(self.power[loud] / sums[loud, None])


def spectra(mono: Samples, rate_hz: int, size: int = FFT_SIZE) -> Spectra:
    """Return the spectra of `mono`, of shape (frames,), in steps of half a frame."""
    hop = size // 2
    frames = np.lib.stride_tricks.sliding_window_view(mono, size)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    return Spectra(power, rate_hz / size, hop / rate_hz)


def top_four_share(of: Spectra) -> float:
    """Return the power in the four strongest bins of a frame, as a share: 1 is a lone tone."""
    return float(np.sort(of.sounding, axis=1)[:, -4:].sum(axis=1).mean())


def entropy(of: Spectra) -> float:
    """Return how evenly power lies over the spectrum of a frame: 0 is a lone tone, 1 flat."""
    shares = of.sounding
    bits = -(shares * np.log2(shares + 1e-20)).sum(axis=1)
    return float(bits.mean() / math.log2(shares.shape[1]))


def peaks(of: Spectra) -> float:
    """Return the number of local maxima within 30 dB of the highest, in a mean frame."""
    shares = of.sounding
    inner = shares[:, 1:-1]
    high = inner > shares.max(axis=1, keepdims=True) * 1e-3
    return float((high & (inner > shares[:, :-2]) & (inner > shares[:, 2:])).sum(axis=1).mean())


def bass_share(of: Spectra) -> float:
    """Return the share of all power that lies between 30 and 160 Hz."""
    hz, power = of.frequencies_hz, of.power.sum(axis=0)
    return float(power[(hz >= 30) & (hz <= 160)].sum() / power.sum())


def centroid_hz(of: Spectra) -> float:
    """Return the mean frequency, weighted by power: how bright the whole is."""
    power = of.power.sum(axis=0)
    return float((power * of.frequencies_hz).sum() / power.sum())


def chroma_change(of: Spectra) -> float:
    """Return how much of the power between 100 Hz and 5 kHz moves to other pitch classes from one second to the next.

    0 is a chord that never changes, 1 is new notes only. Wants spectra of `CHROMA_FFT_SIZE`.
    """
    hz = of.frequencies_hz
    used = (hz > 100) & (hz < 5_000)
    classes = np.round(69 + 12 * np.log2(hz[used] / 440)).astype(int) % 12
    chroma = np.stack([of.power[:, used][:, classes == pitch_class].sum(axis=1) for pitch_class in range(12)], axis=1)
    per_s = round(1 / of.hop_s)
    seconds = chroma[: len(chroma) // per_s * per_s].reshape(-1, per_s, 12).sum(axis=1)
    shares = seconds / (seconds.sum(axis=1, keepdims=True) + 1e-20)
    return float(np.abs(np.diff(shares, axis=0)).sum(axis=1).mean() / 2)


def width(stereo: Samples) -> float:
    """Return the level of the side (left - right) as a share of that of the middle: 0 is mono."""
    middle, side = stereo[:, 0] + stereo[:, 1], stereo[:, 0] - stereo[:, 1]
    return float(np.sqrt(np.mean(side**2) / np.mean(middle**2)))


def loudness_lufs(stereo: Samples, rate_hz: int) -> float:
    """Return the integrated loudness (ITU-R BS.1770-4) in LUFS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyloudnorm's own, about the types it is handed
        return float(pyloudnorm.Meter(rate_hz).integrated_loudness(stereo))


def silent_share(stereo: Samples, rate_hz: int) -> float:
    """Return the share of 50 ms frames whose level is below -60 dBFS."""
    size = rate_hz // 20
    frames = stereo[: len(stereo) // size * size].reshape(-1, size * 2)
    return float((np.sqrt(np.mean(frames**2, axis=1)) < 1e-3).mean())


def tempo_error(mono: Samples, rate_hz: int, tempo_bpm: float, *, beats: Sequence[float] = (0.5, 1, 2)) -> float:
    """Return how far the pulse that is heard is from `tempo_bpm`, as a share of it.

    The pulse is the strongest peak of the autocorrelation of onsets, between 30 and 300 a
    minute. A pulse of other note values counts as right too, since people tap either.

    Args:
        beats: Which pulses count as right, in beats; 3 is a bar of a waltz.
    """
    pulse_bpm = _pulse_bpm(mono, rate_hz)
    return min(abs(pulse_bpm * beat / tempo_bpm - 1) for beat in beats)


def _pulse_bpm(mono: Samples, rate_hz: int) -> float:
    hop = 256
    frames = np.lib.stride_tricks.sliding_window_view(mono, 1024)[::hop]
    loudness = np.log10(np.abs(np.fft.rfft(frames * np.hanning(1024), axis=1))[:, :400] + 1e-3)
    onsets = np.maximum(np.diff(loudness, axis=0), 0).mean(axis=1)
    # Blurred by 20 ms, so that lags between two frames do not count for less than others.
    onsets = np.convolve(onsets - onsets.mean(), np.hanning(9))
    spectrum = np.fft.rfft(onsets, 2 * len(onsets))
    # Whole bars are as similar as beats; but they overlap less, and that is left as it is.
    similarity = np.fft.irfft(np.abs(spectrum) ** 2)[: len(onsets)]
    per_min = 60 * rate_hz / hop
    shortest, longest = int(per_min / 300), min(int(per_min / 30), len(onsets) // 2)
    lag = shortest + int(np.argmax(similarity[shortest:longest]))
    before, at, after = similarity[lag - 1 : lag + 2]
    return float(per_min / (lag + (before - after) / (2 * (before - 2 * at + after))))


# Scores --------------------------------------------------------------------------------


def notes_of(score: Score, *roles: Role) -> list[Note]:
    """Return the notes of the tracks with these roles, or of all tracks, by their start."""
    tracks = [track for track in score.tracks if not roles or track.role in roles]
    return sorted((note for track in tracks for note in track.notes), key=lambda note: (note.start_s, note.pitch))


def chord_tone_share(score: Score) -> float:
    """Return the share of the notes of chords, pad and arpeggio that belong to the chord of the moment."""
    notes = notes_of(score, "chords", "pad", "arpeggio")
    return _share(note.pitch % 12 in _chord_at(score, _early(note)).pitch_classes for note in notes)


def scale_share(score: Score) -> float:
    """Return the share of the notes of melody and counter that are in the scale of the moment's chord."""
    notes = notes_of(score, "melody", "counter")
    return _share(note.pitch % 12 in _chord_at(score, _early(note)).scale for note in notes)


def wide_leap_share(score: Score) -> float:
    """Return the share of the melody's steps that are wider than a fifth."""
    return 1 - _share(abs(after.pitch - before.pitch) <= 7 for before, after in pairwise(notes_of(score, "melody")))


def rub_share(score: Score) -> float:
    """Return the share of the melody's held notes that rub against the harmony.

    A note of at least `RUB_S` rubs when, for as long as that, a tone of the chords or the
    pad sounds a semitone or a minor ninth from it.
    """
    harmony = notes_of(score, "chords", "pad")
    held = [note for note in notes_of(score, "melody") if note.duration_s >= RUB_S]
    return 1 - _share(not any(_rubs(note, tone) for tone in harmony) for note in held)


def _rubs(note: Note, tone: Note) -> bool:
    overlap_s = min(_end_s(note), _end_s(tone)) - max(note.start_s, tone.start_s)
    return overlap_s >= RUB_S and abs(note.pitch - tone.pitch) % 12 == 1


def notes_per_s(score: Score) -> float:
    return len(notes_of(score)) / score.duration_s


def first_onset_s(score: Score) -> float:
    return min(note.start_s for note in notes_of(score))


def last_end_s(score: Score) -> float:
    return max(_end_s(note) for note in notes_of(score))


def longest_gap_s(score: Score) -> float:
    """Return the longest time in which no note is held, the beginning and the end of the piece included."""
    longest_s, until_s = 0.0, 0.0
    for note in notes_of(score):
        longest_s = max(longest_s, note.start_s - until_s)
        until_s = max(until_s, _end_s(note))
    return max(longest_s, score.duration_s - until_s)


def _early(note: Note) -> float:
    """Return a time a little after the note's start: players are some milliseconds early or late."""
    return note.start_s + min(0.03, note.duration_s / 2)


def _chord_at(score: Score, time_s: float) -> Chord:
    return max((chord for chord in score.chords if chord.start_s <= time_s), key=lambda chord: chord.start_s)


def _end_s(note: Note) -> float:
    return note.start_s + note.duration_s


def _share(outcomes: Iterable[bool]) -> float:
    """Return the share of outcomes that are true; of none at all, all are."""
    counted = list(outcomes)
    return sum(counted) / len(counted) if counted else 1.0
