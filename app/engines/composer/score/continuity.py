"""No holes: where all players would be silent for too long, somebody lets a note ring on.

Figures have rests, slow tempos make them long, and who would fill them may not be playing.
Instead of burdening every writer with that, the written parts are looked through once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from app.engines.composer.instruments import INSTRUMENTS, Role
from app.engines.composer.score.piece import Event, Piece
from app.engines.composer.score.voicing import Register

_LONGEST_SILENCE_S: Final = 0.9
_LATEST_START_S: Final = 0.2
_FILLERS: Final[tuple[Role, ...]] = ("pad", "chords", "arpeggio", "bass", "melody", "counter", "drums")
"""Who is asked to fill a silence, from the first."""


def without_silence(piece: Piece, parts: Mapping[Role, list[Event]]) -> dict[Role, list[Event]]:
    """Return the parts with their long silences filled by notes held on or struck again."""
    filled = {role: list(events) for role, events in parts.items()}
    role = next(role for role in _FILLERS if filled.get(role))
    for start_beat, end_beat in _silences(piece, parts):
        filled[role].extend(_filling(piece, role, filled[role], start_beat, end_beat))
    return filled


def _silences(piece: Piece, parts: Mapping[Role, list[Event]]) -> Iterator[tuple[float, float]]:
    """Yield from when to when nobody sounds for too long."""
    beat_s = piece.grid.beat_s
    sounding_until = 0.0
    least_beats = _LATEST_START_S / beat_s
    for start, end in sorted([(beat, beat + beats) for events in parts.values() for beat, beats, *_ in events]):
        if start - sounding_until > least_beats:
            yield sounding_until, start
        sounding_until = max(sounding_until, end)
        least_beats = _LONGEST_SILENCE_S / beat_s
    if piece.grid.end_beat - sounding_until > least_beats:
        yield sounding_until, piece.grid.end_beat


def _filling(piece: Piece, role: Role, events: list[Event], start_beat: float, end_beat: float) -> Iterator[Event]:
    """Yield a note for each chord of the silence, near what the role played last."""
    before = [event for event in events if event.beat <= start_beat]
    model = max(before, key=lambda event: event.beat) if before else min(events)
    instrument = INSTRUMENTS[next(player.instrument for player in piece.plan.players if player.role == role)]
    register = Register(instrument.lowest, instrument.highest)
    beat = start_beat
    while beat < end_beat - 1e-6:
        span = piece.span_at(beat)
        end = min(span.end_beat, end_beat) if span is not piece.spans[-1] else end_beat
        pitch = model.pitch
        if role != "drums" and pitch % 12 not in span.harmony.pitch_classes:
            pitch = min(
                (register.place(tone, pitch) for tone in span.harmony.pitch_classes),
                key=lambda place: (abs(place - model.pitch), place),
            )
        yield model._replace(beat=beat, beats=end - beat, pitch=pitch, accent=0.8 * model.accent, delay_s=0.0)
        beat = end
