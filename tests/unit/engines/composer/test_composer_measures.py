"""The measures tell beeps from music: each signal here fails at least one limit that pieces are held to."""

from __future__ import annotations

import random
from typing import NamedTuple

import measures
import numpy as np
import pytest
from measures import Samples

from app.engines.composer.instruments import Role
from app.engines.composer.score import Chord, Note, Part, Score, Track

RATE_HZ = 44_100
SECONDS = 15
C_MAJOR = (60, 62, 64, 65, 67, 69, 71, 72)


def tone(pitch: int, seconds: float) -> Samples:
    frames = round(seconds * RATE_HZ)
    return np.asarray(np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * np.arange(frames) / RATE_HZ))


def sine_beeps() -> Samples:
    """Two beeps a second, anywhere in the scale."""
    choice = random.Random(1)
    return np.concatenate([tone(choice.choice(C_MAJOR), 0.5) for _ in range(2 * SECONDS)])


def square_beeps() -> Samples:
    return np.sign(sine_beeps())


def triad() -> Samples:
    return tone(60, SECONDS) + tone(64, SECONDS) + tone(67, SECONDS)


def arpeggio() -> Samples:
    """Four notes a second, each ringing for half a second."""
    ringing = np.exp(-np.arange(RATE_HZ) / RATE_HZ / 0.5)
    samples = np.zeros((SECONDS + 1) * RATE_HZ)
    for step in range(4 * SECONDS):
        start = step * RATE_HZ // 4
        samples[start : start + RATE_HZ] += tone((60, 64, 67, 72)[step % 4], 1) * ringing
    return samples[: SECONDS * RATE_HZ]


def noise() -> Samples:
    return np.random.default_rng(1).standard_normal(SECONDS * RATE_HZ)


class Figures(NamedTuple):
    top_four_share: float
    entropy: float
    peaks: float
    chroma_change: float
    bass_share: float


@pytest.mark.parametrize(
    ("signal", "documented"),
    [
        (sine_beeps(), Figures(0.99, 0.13, 1, 0.67, 0.0)),
        (square_beeps(), Figures(0.85, 0.26, 17, 0.60, 0.0)),
        (triad(), Figures(0.74, 0.28, 3, 0.0, 0.0)),
        (arpeggio(), Figures(0.81, 0.26, 4, 0.01, 0.0)),
        (noise(), Figures(0.02, 0.94, 283, 0.03, 0.006)),
    ],
    ids=["sine beeps", "square beeps", "triad", "arpeggio", "noise"],
)
def test_what_nobody_calls_music_measures_as_documented(signal: Samples, documented: Figures) -> None:
    measured = measures.sound(np.stack([signal, signal], axis=1), RATE_HZ)
    assert measured.top_four_share == pytest.approx(documented.top_four_share, abs=0.02)
    assert measured.entropy == pytest.approx(documented.entropy, abs=0.02)
    assert measured.peaks == pytest.approx(documented.peaks, abs=3)
    assert measured.chroma_change == pytest.approx(documented.chroma_change, abs=0.02)
    assert measured.bass_share == pytest.approx(documented.bass_share, abs=0.002)
    assert {fault.split()[0] for fault in measures.faults(measured)} > {"bass_share", "width"}


@pytest.mark.parametrize("signal", [sine_beeps(), square_beeps(), triad(), arpeggio(), noise()])
def test_width_bass_and_loudness_alone_do_not_make_music(signal: Samples) -> None:
    """Two spectral measures at least object even to beeps that are mixed as music is."""
    hum = 0.3 * np.abs(signal).max() * tone(36, SECONDS)
    stereo = np.stack([signal + hum, 0.5 * signal + hum], axis=1)
    objecting = {fault.split()[0] for fault in measures.faults(measures.sound(stereo, RATE_HZ))}
    assert len(objecting & {"top_four_share", "entropy", "peaks", "chroma_change"}) >= 2


def test_silence_counts_frames_below_60_db() -> None:
    stereo = np.zeros((RATE_HZ, 2))
    stereo[: RATE_HZ // 4] = 0.5
    assert measures.silent_share(stereo, RATE_HZ) == pytest.approx(0.75)


def test_loudness_is_that_of_the_standard() -> None:
    """A sine of 1 kHz at full scale in one channel is -3.01 LUFS (ITU-R BS.1770)."""
    sine = np.sin(2 * np.pi * 997 * np.arange(5 * RATE_HZ) / RATE_HZ)
    stereo = np.stack([sine, np.zeros_like(sine)], axis=1)
    assert measures.loudness_lufs(stereo, RATE_HZ) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("tempo_bpm", [61, 92, 120, 174])
def test_a_pulse_is_found(tempo_bpm: int) -> None:
    """Kicks on the beats and hats between them."""
    samples = np.zeros(SECONDS * RATE_HZ)
    click = noise()[: RATE_HZ // 20] * np.linspace(1, 0, RATE_HZ // 20) ** 2
    for eighth in range(int(SECONDS * tempo_bpm / 30) - 1):
        start = round(eighth * 30 / tempo_bpm * RATE_HZ)
        samples[start : start + len(click)] += click * (0.2 if eighth % 2 else 1)
    assert measures.tempo_error(samples, RATE_HZ, tempo_bpm) < 0.01
    assert measures.tempo_error(samples, RATE_HZ, tempo_bpm * 1.3) > 0.1


# Scores --------------------------------------------------------------------------------

C_MAJOR_CHORD = Chord(0.0, 4.0, "C", (0, 4, 7), (0, 2, 4, 5, 7, 9, 11))


def score_of(*tracks: Track) -> Score:
    return Score(4.0, 120.0, 4, 0, "major", (Part("A", 0.0, 2),), (C_MAJOR_CHORD,), tracks)


def track_of(role: Role, *pitches: int) -> Track:
    """Return a track of half notes, one after the other."""
    return Track(role, "piano", tuple(Note(0.5 * place, 0.5, pitch, 80) for place, pitch in enumerate(pitches)))


def test_a_random_walk_over_a_chord_is_told_from_a_tune() -> None:
    chords = Track("chords", "piano", tuple(Note(0.0, 4.0, pitch, 80) for pitch in (60, 64, 67)))
    tune = score_of(track_of("melody", 72, 74, 76, 79, 77, 76, 74, 72), chords)
    beeps = score_of(track_of("melody", 72, 61, 80, 66, 78, 63, 75, 67), chords)
    assert (measures.scale_share(tune), measures.wide_leap_share(tune), measures.rub_share(tune)) == (1, 0, 1 / 8)
    assert measures.scale_share(beeps) == pytest.approx(2 / 8)
    assert measures.wide_leap_share(beeps) == 1
    assert measures.rub_share(beeps) == pytest.approx(4 / 8)


def test_short_notes_and_distant_semitones_do_not_rub() -> None:
    chords = Track("chords", "piano", tuple(Note(0.0, 4.0, pitch, 80) for pitch in (60, 64)))
    passing = Track("melody", "flute", (Note(0.0, 0.2, 65, 80),))
    major_seventh = Track("melody", "flute", (Note(0.0, 1.0, 71, 80),))
    minor_ninth = Track("melody", "flute", (Note(0.0, 1.0, 73, 80),))
    assert measures.rub_share(score_of(passing, chords)) == 0
    assert measures.rub_share(score_of(major_seventh, chords)) == 0
    assert measures.rub_share(score_of(minor_ninth, chords)) == 1


def test_foreign_tones_in_the_harmony_are_counted() -> None:
    assert measures.chord_tone_share(score_of(track_of("chords", 60, 64, 67, 70))) == pytest.approx(3 / 4)


def test_gaps_are_times_without_any_note_up_to_the_very_end() -> None:
    score = score_of(Track("melody", "flute", (Note(0.4, 1.0, 60, 80), Note(0.5, 2.0, 64, 80))))
    assert measures.first_onset_s(score) == 0.4
    assert measures.last_end_s(score) == 2.5
    assert measures.longest_gap_s(score) == 1.5
    assert measures.notes_per_s(score) == 0.5
