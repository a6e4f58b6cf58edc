"""Plans to compose from, and ways to look at the scores: shared by the tests of the composing part."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from app.engines.composer.instruments import INSTRUMENTS, Role
from app.engines.composer.plan import Plan, Player
from app.engines.composer.score import Chord, Note, Score
from app.engines.composer.styles import STYLES

MOODS: Final[Mapping[str, tuple[float, float]]] = {
    "sad": (-0.7, -0.5),
    "calm": (0.3, -0.7),
    "dark": (-0.7, 0.2),
    "happy": (0.8, 0.4),
    "energetic": (0.3, 0.9),
}
"""Valence and arousal."""

EARLY_S, STRAY_S = 0.012, 0.05
"""By how much a note may be early, and by how much it may be late or outlast its time: looseness and a strum."""


def plan_of(
    style: str = "pop",
    duration_s: float = 30.0,
    *,
    mood: tuple[float, float] | None = None,
    tempo_bpm: float | None = None,
    tonic: int = 0,
    mode: str | None = None,
    players: Sequence[tuple[Role, str]] | None = None,
    theme: int = 1,
    seed: int = 1,
    opening: Literal["begin", "continue"] = "begin",
    ending: Literal["close", "lead on"] = "close",
) -> Plan:
    """Return a plan as the style has it: its tempo and mode for the mood, and its whole cast."""
    row = STYLES[style]
    valence, arousal = row.mood if mood is None else mood
    calmest_bpm, liveliest_bpm = row.tempo_bpm
    cast = [(role, names[0]) for role, names in row.cast.items()] if players is None else players
    return Plan(
        duration_s=duration_s,
        style=style,
        tempo_bpm=tempo_bpm or calmest_bpm + (liveliest_bpm - calmest_bpm) * (arousal + 1) / 2,
        tonic=tonic,
        mode=mode or row.modes[0 if valence >= 0 else 1],
        valence=valence,
        arousal=arousal,
        players=tuple(Player(role, name) for role, name in cast),
        unknown_instruments=(),
        theme=theme,
        seed=seed,
        opening=opening,
        ending=ending,
    )


def notes_of(score: Score, role: Role) -> tuple[Note, ...]:
    """Return the notes of a role; none, if nobody has it."""
    return next((track.notes for track in score.tracks if track.role == role), ())


def notes_with_chords(score: Score, role: Role) -> Iterator[tuple[Note, tuple[Chord, ...]]]:
    """Yield each note of a role with the chords that it sounds in, straying aside."""
    starts = [chord.start_s for chord in score.chords]
    for note in notes_of(score, role):
        first = max(bisect_right(starts, note.start_s + EARLY_S) - 1, 0)
        last = max(bisect_right(starts, note.start_s + note.duration_s - STRAY_S), first + 1)
        yield note, score.chords[first:last]


def leaps(notes: Sequence[Note]) -> list[int]:
    """Return the semitones from each note to the next."""
    return [later.pitch - earlier.pitch for earlier, later in itertools.pairwise(notes)]


def longest_silence_s(score: Score) -> float:
    """Return the longest time within the piece in which no note is held."""
    sounds = sorted((note.start_s, note.start_s + note.duration_s) for track in score.tracks for note in track.notes)
    until_s, longest_s = 0.0, 0.0
    for start_s, end_s in [*sounds, (score.duration_s, score.duration_s)]:
        longest_s = max(longest_s, start_s - until_s)
        until_s = max(until_s, end_s)
    return longest_s


def density(score: Score) -> float:
    """Return the notes a second of all players together."""
    return sum(len(track.notes) for track in score.tracks) / score.duration_s


def assert_playable(score: Score) -> None:
    """Check what holds for every score whatever it is of."""
    assert score.chords[0].start_s == 0.0
    for earlier, later in itertools.pairwise(score.chords):
        assert abs(earlier.start_s + earlier.duration_s - later.start_s) < 1e-6
    assert abs(score.chords[-1].start_s + score.chords[-1].duration_s - score.duration_s) < 1e-6
    for track in score.tracks:
        instrument = INSTRUMENTS[track.instrument]
        assert list(track.notes) == sorted(track.notes, key=lambda note: (note.start_s, note.pitch))
        for note in track.notes:
            assert 0.0 <= note.start_s < score.duration_s
            assert note.duration_s > 0.0
            assert note.start_s + note.duration_s <= score.duration_s + 1e-9
            assert 1 <= note.velocity <= 127
            assert instrument.lowest <= note.pitch <= instrument.highest, (track.role, track.instrument, note)
