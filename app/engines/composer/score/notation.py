"""The finished score as plain data: what the render, MIDI files and tests read."""

from __future__ import annotations

from dataclasses import dataclass

from app.engines.composer.instruments import Role


@dataclass(frozen=True, slots=True)
class Note:
    """One note as it is played.

    Attributes:
        start_s: Seconds from the start of the piece; 0 or later, before its end.
        duration_s: Seconds until the player lets go; more than 0, at most to the end of the piece.
        pitch: MIDI number, 60 is middle C; for drums the General MIDI drum.
        velocity: How hard it is struck, 1 to 127.
    """

    start_s: float
    duration_s: float
    pitch: int
    velocity: int


@dataclass(frozen=True, slots=True)
class Track:
    """All notes of one player, in the order in which they start (of those at once, the lowest first)."""

    role: Role
    instrument: str
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord and the time for which it rules; the chords of a score leave no gap.

    Attributes:
        start_s: Seconds from the start of the piece.
        duration_s: Seconds.
        name: As a lead sheet has it: "Am7".
        pitch_classes: Its tones, 0 (C) to 11, the root first.
        scale: Pitch classes from which a tune over it is made; holds all its tones.
    """

    start_s: float
    duration_s: float
    name: str
    pitch_classes: tuple[int, ...]
    scale: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the form.

    Attributes:
        name: "intro", "A", "B", "A2" (the second time), "bridge", "breakdown", "build" or "outro".
        start_s: Seconds from the start of the piece.
        bars: Its length; the last bar of a piece may be cut short.
    """

    name: str
    start_s: float
    bars: int


@dataclass(frozen=True, slots=True)
class Score:
    """A whole piece.

    Attributes:
        duration_s: As planned.
        tempo_bpm: Quarter notes a minute, after the stretch that makes the bars fit.
        beats_per_bar: 3 or 4.
        tonic: Pitch class of the key note, 0 (C) to 11.
        mode: Key of `harmony.MODES`.
        form: Its parts; the final chord belongs to none.
        chords: Without gaps from 0 to the end.
        tracks: One for each of the plan's players, in their order.
    """

    duration_s: float
    tempo_bpm: float
    beats_per_bar: int
    tonic: int
    mode: str
    form: tuple[Part, ...]
    chords: tuple[Chord, ...]
    tracks: tuple[Track, ...]
