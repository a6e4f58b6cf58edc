"""From notes to samples: every sound is computed, none is recorded. The only importer of NumPy here.

A tone is a sum of decaying partials. Sample n of a partial is a power of one complex
number, so n = block · 512 + rest splits the whole sum into one small matrix product: no
sine is evaluated per sample. Tones are rendered once per pitch and part, at their longest,
and cut to each note. All signals are float32 of shape (2, frames), left and right.

To add an instrument, add a row to `TIMBRES` (and its names to `plan.INSTRUMENTS`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from app.engines.composer.plan import CRASH, HAT, KICK, SNARE, Part, Plan
from app.engines.composer.score import Note

RATE_HZ: Final = 44_100
CHANNELS: Final = 2

Samples = npt.NDArray[np.float32]

_BLOCK_FRAMES: Final = 512
_BATCH: Final = 8
"""Blocks a product: few enough that OpenBLAS starts no threads, which would wait for each other at full load."""

_LOUDNESS: Final = 10 ** (-16 / 20)
"""RMS of the whole piece, as a share of full scale."""

_KNEE, _CEILING = 0.55, 0.89
"""The limiter leaves samples up to the knee alone and lets none reach the ceiling."""


@dataclass(frozen=True, slots=True)
class Timbre:
    """How an instrument sounds.

    Attributes:
        partials: How many at most.
        rolloff: Partial k starts at k ** -rolloff.
        evens: Level of the even partials against the odd ones; low is hollow.
        cutoff_hz: Above this partials fade by 12 dB an octave, at middle brightness.
        decay_s: Seconds in which middle C falls to 1/e; higher keys fall faster. Infinite for what is blown or bowed.
        damping: How much faster each further partial decays, as a share of the first.
        inharmonicity: Stiffness of the string: partial k sounds at k · sqrt(1 + inharmonicity · k²).
        pluck: Where the string is plucked, as a share of its length; 0 for not at all.
        bloom_s: Seconds in which the second partial swells; higher ones take longer.
        attack_s: Seconds of the onset.
        release_s: Seconds of sound after the player has let go.
        detune_cents: Left and right are this far above and below the pitch, which makes the sound wide.
        vibrato_cents: Depth, at 5.2 Hz.
        breath: Level of the noise of breath, bow or hammer.
    """

    partials: int
    rolloff: float
    cutoff_hz: float
    evens: float = 1.0
    decay_s: float = math.inf
    damping: float = 0.0
    inharmonicity: float = 0.0
    pluck: float = 0.0
    bloom_s: float = 0.0
    attack_s: float = 0.004
    release_s: float = 0.12
    detune_cents: float = 1.0
    vibrato_cents: float = 0.0
    breath: float = 0.0


TIMBRES: Final[Mapping[str, Timbre]] = {
    "piano": Timbre(24, 0.9, 3_600, decay_s=1.3, damping=0.22, inharmonicity=3e-4, release_s=0.22, breath=0.05),
    "epiano": Timbre(12, 1.4, 3_200, decay_s=2.2, damping=0.6, evens=0.6, release_s=0.2, detune_cents=3, breath=0.02),
    "guitar": Timbre(28, 0.8, 4_200, decay_s=0.9, damping=0.3, inharmonicity=8e-5, pluck=0.19, detune_cents=3),
    "bell": Timbre(7, 1.1, 6_000, decay_s=1.4, damping=0.7, inharmonicity=0.02, evens=0.5, release_s=0.9),
    "strings": Timbre(28, 0.9, 3_600, attack_s=0.11, release_s=0.32, detune_cents=6, vibrato_cents=9, breath=0.012),
    "flute": Timbre(9, 1.3, 3_600, evens=0.7, attack_s=0.05, release_s=0.14, vibrato_cents=14, breath=0.05),
    "pad": Timbre(28, 1.0, 2_400, bloom_s=0.22, attack_s=0.22, release_s=0.7, detune_cents=9),
    "synth": Timbre(34, 0.9, 4_500, decay_s=0.9, damping=0.25, release_s=0.16, detune_cents=8, vibrato_cents=5),
    "bass": Timbre(16, 1.1, 1_100, decay_s=1.6, damping=0.25, attack_s=0.006, release_s=0.09, breath=0.01),
}

# Level in dB of each part once all are equally loud, pan from -1 (left) to 1, and how much of it the room gets.
_DESK: Final[Mapping[Part, tuple[float, float, float]]] = {
    "chords": (-1.0, -0.12, 1.0),
    "melody": (0.5, 0.14, 1.0),
    "bass": (-4.0, 0.0, 0.15),
    "drums": (-3.0, 0.0, 0.3),
}


def render(plan: Plan, notes: Sequence[Note], *, checkpoint: Callable[[float], None]) -> bytes:
    """Return the piece as interleaved little-endian 16-bit samples, `round(plan.duration_s * RATE_HZ)` frames.

    Args:
        plan: What `notes` were composed from.
        notes: In any order.
        checkpoint: Called between steps with the share that is done, 0 to 1; it may raise to end the work.
    """
    frames = round(plan.duration_s * RATE_HZ)
    mix = np.zeros((CHANNELS, frames), np.float32)
    room = np.zeros(frames, np.float32)
    for index, (part, name) in enumerate(plan.timbres):
        checkpoint(index / (len(plan.timbres) + 1))
        track = np.zeros((CHANNELS, frames), np.float32)
        played = sorted((note for note in notes if note.part == part), key=lambda note: (note.pitch, note.start_s))
        for pitch, same in itertools.groupby(played, key=lambda note: note.pitch):
            if part == "drums":
                _strike(track, _drum(pitch, plan), same)
            else:
                _play(track, TIMBRES[name], pitch, tuple(same), plan)
        gain_db, pan, send = _DESK[part]
        track *= 10 ** (gain_db / 20) / _level(track)
        track *= np.array([[math.sqrt(1 - pan)], [math.sqrt(1 + pan)]], np.float32)
        mix += track
        room += send * track.mean(axis=0)
    checkpoint(len(plan.timbres) / (len(plan.timbres) + 1))
    _add_reverb(mix, room, plan)
    return _master(mix)


# ---------------------------------------------------------------------- tones


def _play(track: Samples, timbre: Timbre, pitch: int, notes: Sequence[Note], plan: Plan) -> None:
    longest_s = max(note.duration_s for note in notes) + timbre.release_s
    left, right = (
        _tone(timbre, pitch, round(longest_s * RATE_HZ), plan, detune_cents=side * timbre.detune_cents)
        for side in (1, -1)
    )
    # Some of each side on the other: wide, and still whole when played in mono.
    _place(track, np.stack((left + 0.3 * right, right + 0.3 * left)), notes, release_s=timbre.release_s)


def _tone(timbre: Timbre, pitch: int, frames: int, plan: Plan, *, detune_cents: float) -> Samples:
    """Return one channel of a tone that is held throughout."""
    tone_hz = 440.0 * 2 ** ((pitch - 69) / 12 + detune_cents / 1200)
    order = np.arange(1, timbre.partials + 1)
    partial_hz = tone_hz * order * np.sqrt(1 + timbre.inharmonicity * order**2)
    audible = partial_hz < 0.42 * RATE_HZ
    order, partial_hz = order[audible], partial_hz[audible]

    # The key is part of the cutoff, or low notes are dull and high ones shrill.
    cutoff_hz = timbre.cutoff_hz * 2 ** (2.4 * plan.brightness - 1.2) * (tone_hz / 262) ** 0.4
    level = order**-timbre.rolloff / (1 + (partial_hz / cutoff_hz) ** 2)
    level = np.where(order % 2 == 0, timbre.evens, 1.0) * level
    if timbre.pluck:
        level = level * np.abs(np.sin(np.pi * timbre.pluck * order))
    decay_hz = (1 + timbre.damping * (order - 1)) / timbre.decay_s * 2 ** ((pitch - 60) / 24)
    if timbre.bloom_s:
        # A partial that swells is a steady one less a decaying one.
        swell_hz = decay_hz + 1 / (timbre.bloom_s * np.maximum(order - 1, 0.5))
        order, partial_hz = np.tile(order, 2), np.tile(partial_hz, 2)
        level, decay_hz = np.concatenate((level, -level)), np.concatenate((decay_hz, swell_hz))

    pole = (2j * np.pi * partial_hz - decay_hz) / RATE_HZ
    # Phases spread by the golden ratio: a sum of sines in phase is a row of spikes.
    onset = level * np.exp(2j * np.pi * 0.618 * order**2)
    batches = -(-frames // (_BATCH * _BLOCK_FRAMES))
    # A partial below -200 dB is cut: the arithmetic slows down on numbers that are almost zero.
    coarse = onset * np.exp(np.outer(np.arange(batches * _BATCH) * _BLOCK_FRAMES, pole))
    coarse = np.where(np.abs(coarse) < 1e-10, 0, coarse).astype(np.complex64)
    fine = np.exp(np.outer(pole, np.arange(_BLOCK_FRAMES))).astype(np.complex64)
    # Stacked, because NumPy multiplies the parts of a complex matrix, which lie apart in memory, ten times slower.
    stacked = np.hstack((coarse.real, coarse.imag)).reshape(batches, _BATCH, -1)
    tone: Samples = (stacked @ np.vstack((fine.imag, fine.real))).ravel()[:frames]

    if timbre.vibrato_cents:
        tone = _with_vibrato(tone, timbre.vibrato_cents)
    if timbre.breath:
        tone += _breath(timbre, frames, tone_hz, pitch)
    attack_frames = min(round(timbre.attack_s * RATE_HZ), frames)
    tone[:attack_frames] *= _fade(attack_frames)
    return tone


def _with_vibrato(tone: Samples, cents: float) -> Samples:
    """Return the tone read at a pace that wavers; it sets in late, as players do it."""
    time_s = np.arange(len(tone)) / RATE_HZ
    sway_s = (2 ** (cents / 1200) - 1) / (2 * np.pi * 5.2) * np.minimum(time_s / 0.5, 1.0) ** 2
    read_at = time_s + sway_s * np.sin(2 * np.pi * 5.2 * time_s)
    return np.interp(read_at * RATE_HZ, np.arange(len(tone)), tone).astype(np.float32)


def _breath(timbre: Timbre, frames: int, tone_hz: float, pitch: int) -> Samples:
    """Return noise around the tone: steady for what is blown or bowed, a knock for what is struck."""
    noise = _smooth(_noise(frames, seed=pitch), round(RATE_HZ / (6 * tone_hz)))
    knock_s = 0.03 if math.isfinite(timbre.decay_s) else math.inf
    envelope = np.exp(-np.arange(frames, dtype=np.float32) / np.float32(knock_s * RATE_HZ))
    return np.asarray(4 * timbre.breath * noise * envelope, np.float32)


def _place(track: Samples, sound: Samples, notes: Iterable[Note], *, release_s: float) -> None:
    """Add the sound to the track once per note, cut to it."""
    fade = _fade(round(release_s * RATE_HZ))[::-1] ** 2
    for note in notes:
        start, held = round(note.start_s * RATE_HZ), round(note.duration_s * RATE_HZ)
        cut = sound[:, : min(held + len(fade), track.shape[1] - start)] * _gain(note)
        cut[:, held:] *= fade[: max(cut.shape[1] - held, 0)]
        track[:, start : start + cut.shape[1]] += cut


def _gain(note: Note) -> np.float32:
    return np.float32((note.velocity / 100) ** 1.5)


# ---------------------------------------------------------------------- drums


def _strike(track: Samples, stroke: Samples, notes: Iterable[Note]) -> None:
    """Add the stroke to the track once per note; a drum rings out, whatever the note's length."""
    for note in notes:
        start = round(note.start_s * RATE_HZ)
        heard = track[:, start : start + stroke.shape[1]]
        heard += stroke[:, : heard.shape[1]] * _gain(note)


def _drum(pitch: int, plan: Plan) -> Samples:
    """Return one stroke of a drum."""
    ring_s = {KICK: 0.4, SNARE: 0.35, HAT: 0.12, CRASH: 2.5}[pitch]
    time_s = np.arange(round(ring_s * RATE_HZ), dtype=np.float32) / RATE_HZ
    noise = np.stack([_noise(len(time_s), seed=plan.seed % 1000 + pitch + side) for side in range(CHANNELS)])
    hiss = noise - np.stack([_smooth(each, 5 if plan.brightness > 0.4 else 9) for each in noise])
    if pitch == KICK:
        # The head starts tight and slackens: 46 Hz, from 150.
        cycles = 46 * time_s + 104 / 32 * (1 - np.exp(-32 * time_s))
        stroke = 0.8 * np.sin(2 * np.pi * cycles) * np.exp(-9 * time_s) + 0.05 * hiss * np.exp(-200 * time_s)
    elif pitch == SNARE:
        body = np.sin(2 * np.pi * 190 * time_s) * np.exp(-26 * time_s)
        stroke = 0.45 * body + 0.5 * hiss * np.exp(-17 * time_s)
    elif pitch == HAT:
        stroke = 0.3 * hiss * np.exp(-55 * time_s)
    else:
        stroke = 0.2 * hiss * np.exp(-2.4 * time_s)
    stroke = np.broadcast_to(stroke, noise.shape).astype(np.float32)
    stroke[:, -256:] *= _fade(256)[::-1]
    return stroke


# ---------------------------------------------------------------------- desk


def _level(track: Samples) -> float:
    """Return the RMS of the track where it is at its loudest: neither rests nor decay make a part louder."""
    window = RATE_HZ // 20
    whole = track.shape[1] // window * window
    power = np.square(track[:, :whole]).reshape(CHANNELS, -1, window).mean(axis=(0, 2))
    playing = power[power > power.max(initial=0.0) / 30]
    return math.sqrt(float(playing.mean())) if len(playing) else 1.0


def _add_reverb(mix: Samples, room: Samples, plan: Plan) -> None:
    """Add the echo of `room` to the mix: noise that dies away, darker the longer it lasts, another on each side.

    At half the rate: an echo has no treble worth twice the work.
    """
    pairs = len(room) // 2
    rate_hz = RATE_HZ // 2
    time_s = np.arange(round(plan.reverb_s * rate_hz), dtype=np.float32) / rate_hz
    size = -(-(pairs + len(time_s)) // 32_768) * 32_768
    spectrum = np.fft.rfft(room[: 2 * pairs].reshape(-1, 2).mean(axis=1), size)
    wet = 0.2 + 0.05 * plan.reverb_s - 0.08 * plan.energy
    for side in range(CHANNELS):
        early = _noise(len(time_s), seed=side)
        echo = (early * np.exp(-18 * time_s) + 2 * _smooth(early, 6)) * np.exp(-6.9 * time_s / plan.reverb_s)
        echo[: rate_hz // 80] = 0.0  # the nearest wall is a little away
        echo *= wet / math.sqrt(float(np.square(echo).sum()))
        heard = np.fft.irfft(spectrum * np.fft.rfft(echo, size), size)[:pairs].astype(np.float32)
        mix[side, 0 : 2 * pairs : 2] += heard
        mix[side, 1 : 2 * pairs - 1 : 2] += (heard[:-1] + heard[1:]) / 2


def _master(mix: Samples) -> bytes:
    """Return the mix at its loudness, limited, faded out and in 16 bits."""
    out_frames = min(round(0.7 * RATE_HZ), mix.shape[1])
    mix[:, mix.shape[1] - out_frames :] *= _fade(out_frames)[::-1]
    mix *= _LOUDNESS / (math.sqrt(float(np.square(mix).mean())) or 1.0)
    loud = np.abs(mix) > _KNEE
    room = _CEILING - _KNEE
    over = mix[loud]
    mix[loud] = np.sign(over) * (_KNEE + room * np.tanh((np.abs(over) - _KNEE) / room))
    return np.rint(mix.T * 32_767).astype("<i2").tobytes()


def _noise(frames: int, *, seed: int) -> Samples:
    return np.random.default_rng(seed).random(frames, np.float32) * 2 - 1


def _smooth(signal: Samples, window: int) -> Samples:
    """Return the moving average over `window` frames."""
    sums = np.cumsum(np.pad(signal, (window, 0)), dtype=np.float64)
    return ((sums[window:] - sums[:-window]) / window).astype(np.float32)


def _fade(frames: int) -> Samples:
    """Return a rise from 0 to 1 without corners."""
    return (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, frames))).astype(np.float32)
