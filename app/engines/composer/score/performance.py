"""The performance: from written notes in beats to played ones in seconds.

Players swing, breathe with the phrase, lean on the metre, and are never exactly together;
how far they stray is the style's `looseness`, 0 for machines.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Final

from app.engines.composer.instruments import INSTRUMENTS, Role
from app.engines.composer.plan import Player
from app.engines.composer.score.form import PHRASE_BARS
from app.engines.composer.score.notation import Note, Track
from app.engines.composer.score.piece import Event, Piece

_VELOCITIES: Final[Mapping[Role, float]] = MappingProxyType(
    {"melody": 86, "counter": 72, "chords": 68, "arpeggio": 66, "pad": 62, "bass": 82, "drums": 84}
)
_VELOCITY_OF_ENERGY: Final = 20.0
_METRE: Final[Mapping[int, Sequence[float]]] = MappingProxyType({4: (5.0, -1.0, 2.5, -1.0), 3: (5.0, -1.5, -0.5)})
"""Velocity by beat of the bar; between the beats it is less."""

_OFF_BEAT: Final = -4.0
_PHRASE_SWELL: Final = 5.0
_VELOCITY_SPREAD: Final = 4.0

_STEADIEST_S, _FARTHEST_S = 0.0015, 0.011
"""How far a note of a nearly steady and of the loosest player may be from its time."""

_LAG_S: Final[Mapping[Role, float]] = MappingProxyType({"melody": 0.003, "bass": 0.002, "chords": 0.001})
"""How much later than the beat some like to be."""

_SHORTEST_S: Final = 0.04
_LONG_NOTE_SHARE: Final = 0.93
"""Notes longer than a beat are held for at least this share of it, however short the others are."""

_STACCATO_ROLES: Final = frozenset({"melody", "counter", "chords", "bass", "arpeggio"})


def perform(piece: Piece, player: Player, events: Sequence[Event]) -> Track:
    """Return the player's track: the written notes, played."""
    rng = piece.rng(f"performance {player.role}")
    lowest, highest = INSTRUMENTS[player.instrument].lowest, INSTRUMENTS[player.instrument].highest
    second, level = _seconds(piece), _levels(piece, player.role)
    lag_s, farthest_s = _stray_s(piece, player.role)
    spread = _VELOCITY_SPREAD * (0.3 + piece.style.looseness)
    short = _articulation(piece, player.role)
    duration_s = piece.plan.duration_s
    final_beat = piece.grid.end_beat - 1e-6
    played = []
    for beat, beats, pitch, accent, delay_s in sorted(events):
        # Small misses are the most common.
        astray_s = lag_s + farthest_s * (rng.random() + rng.random() - 1.0)
        start_s = max(second(beat) + astray_s + delay_s, 0.0)
        left_s = duration_s - start_s
        if left_s < _SHORTEST_S / 2:
            continue
        held_s = left_s
        if beat + beats < final_beat:
            share = short if beats <= 1.0 else max(short, _LONG_NOTE_SHARE)
            held_s = min(max((second(beat + beats) - start_s) * share, _SHORTEST_S), left_s)
        played_pitch = pitch if lowest <= pitch <= highest else _within(pitch, lowest, highest)
        velocity = round(level(beat) * accent + 2 * spread * (rng.random() - 0.5))
        played.append(Note(start_s, held_s, played_pitch, min(max(velocity, 1), 127)))
    played.sort(key=_order)
    return Track(player.role, player.instrument, tuple(_released(played)))


def _seconds(piece: Piece) -> Callable[[float], float]:
    """Return when a beat sounds, in seconds, swung: the second half of what the style swings comes late."""
    swing = piece.style.swing
    unit_beats = 1.0 if piece.style.swung == "eighths" else 0.5
    if abs(swing - 0.5) < 1e-6:
        return piece.grid.second

    @cache
    def second(beat: float) -> float:
        whole, into = divmod(beat, unit_beats)
        share = into / unit_beats
        late = share * 2 * swing if share < 0.5 else swing + (share - 0.5) * 2 * (1 - swing)
        return piece.grid.second((whole + late) * unit_beats)

    return second


def _stray_s(piece: Piece, role: Role) -> tuple[float, float]:
    """Return how much later than written a role likes to be, and how far from that a note may be."""
    looseness = piece.style.looseness
    if not looseness:
        return 0.0, 0.0
    lag_s = _LAG_S.get(role, 0.0) * looseness
    return lag_s, _STEADIEST_S + (_FARTHEST_S - _STEADIEST_S) * looseness - lag_s


def _levels(piece: Piece, role: Role) -> Callable[[float], float]:
    """Return how loud a role is on a beat: by the section's energy, the metre, and the place in the phrase."""
    beats_per_bar = piece.grid.beats_per_bar
    phrase_beats = PHRASE_BARS * beats_per_bar
    metre = _METRE[beats_per_bar]
    starts = [section.start_beat for section in piece.sections]

    @cache
    def level(beat: float) -> float:
        section = piece.sections[max(bisect_right(starts, beat + 1e-6) - 1, 0)]
        in_section = beat - section.start_beat
        place = in_section % beats_per_bar
        accent = metre[int(place)] if place % 1 < 1e-6 else _OFF_BEAT
        # A phrase grows to its third quarter and falls away.
        swell = _PHRASE_SWELL * (1.0 - abs(in_section % phrase_beats / phrase_beats - 0.7) / 0.7)
        return _VELOCITIES[role] + _VELOCITY_OF_ENERGY * section.energy + accent + swell

    return level


def _articulation(piece: Piece, role: Role) -> float:
    """Return the share of its time for which a short note is held: bright and driving is short, calm is long."""
    if role not in _STACCATO_ROLES:
        return 1.0
    brisk = max(piece.plan.arousal, 0.0) * (0.5 + max(piece.plan.valence, 0.0))
    return max(1.0 - 0.28 * brisk, 0.6)


def _within(pitch: int, lowest: int, highest: int) -> int:
    """Return a note that the instrument lacks in the nearest octave in which it has it."""
    return lowest + (pitch - lowest) % 12 if pitch < lowest else highest - (highest - pitch) % 12


def _order(note: Note) -> tuple[float, int]:
    return note.start_s, note.pitch


def _released(notes: Sequence[Note]) -> Iterator[Note]:
    """Yield the notes; a key that is struck again was released before."""
    next_start_s: dict[int, float] = {}
    kept: list[Note] = []
    for note in reversed(notes):
        following_s = next_start_s.get(note.pitch)
        if following_s is not None and following_s - note.start_s < _SHORTEST_S / 2:
            continue
        next_start_s[note.pitch] = note.start_s
        if following_s is not None and note.start_s + note.duration_s > following_s:
            kept.append(Note(note.start_s, following_s - note.start_s, note.pitch, note.velocity))
        else:
            kept.append(note)
    yield from reversed(kept)
