"""The bass: roots where chords change, and lines that lead from one to the next."""

from __future__ import annotations

from typing import Final

from app.engines.composer.score.changes import Span
from app.engines.composer.score.figures import SIXTEENTHS_A_BEAT, choose_figure, lay_figure
from app.engines.composer.score.piece import Event, Piece, under_chords
from app.engines.composer.score.voicing import Register
from app.engines.composer.styles import Figure

_LOWEST, _HIGHEST = 28, 55
_HOME: Final = 38.0
"""Roots are sought around the D of a bass's second string, where it speaks."""

_FIFTHS: Final = (7, 6, 8)
_WALK, _SLOW_WALK = "0---1---2---<---", "0-2-1-2-8-2-1-<-"
_SLOW_BEAT_S: Final = 1.1


def write_bass(piece: Piece) -> list[Event]:
    """Return the bass line, in the figures of the style, from calm to lively by the sections' energy."""
    if piece.instrument("bass") is None:
        return []
    register = piece.register("bass", _LOWEST, _HIGHEST)
    events: list[Event] = []
    root = round(_HOME)
    for section in piece.sections_of("bass"):
        spans = piece.spans_of(section)
        figure = _walk(piece) if piece.is_unaccompanied("bass") else choose_figure(piece.style.bass, section.energy)
        current: Span | None = None
        pitches: dict[str, int] = {}
        strokes = lay_figure(figure, section.start_beat, section.end_beat)
        for stroke, span in under_chords(strokes, spans):
            is_new = span is not current
            if is_new:
                root = register.place(span.harmony.root, 0.7 * _HOME + 0.3 * root)
                current, pitches = span, {}
            # Whatever the figure says, a new chord is heard from its root first.
            symbol = "0" if is_new and stroke.beat == span.start_beat and stroke.symbol != "8" else stroke.symbol
            if symbol not in pitches:
                pitches[symbol] = _pitch(piece, symbol, root, span, register)
            accent = 1.05 if stroke.beat == span.start_beat else 0.92
            events.append(Event(stroke.beat, stroke.beats, pitches[symbol], accent))
    if piece.final is not None:
        root = register.place(piece.final.harmony.root, _HOME - 3)
        events.append(Event(piece.final.start_beat, piece.final.beats, root, 1.0))
    return events


def _walk(piece: Piece) -> Figure:
    """Return the figure of a bass that is the whole piece: a step a beat, or two if beats are slow."""
    figure = _SLOW_WALK if piece.grid.beat_s > _SLOW_BEAT_S else _WALK
    return figure[: SIXTEENTHS_A_BEAT * piece.grid.beats_per_bar]


def _pitch(piece: Piece, symbol: str, root: int, span: Span, register: Register) -> int:
    """Return the note of a figure's character over a chord."""
    tones = span.harmony.pitch_classes
    above = {(tone - root) % 12 for tone in tones}
    fifth = next((step for step in _FIFTHS if step in above), 7 if not above - {0} else max(above))
    match symbol:
        case "1":
            return _fold(root + next((step for step in (4, 3, 5, 2) if step in above), fifth), register)
        case "2":
            # The fifth below is the stronger one under a high root.
            return _fold(root + fifth - (12 if root + fifth > _HOME + 8 else 0), register)
        case "3":
            return _fold(root + next((step for step in (10, 11, 9) if step in above), 12), register)
        case "8":
            return _fold(root + 12, register)
        case "<":
            return _approach(piece, root, span, register)
        case _:
            return root


def _approach(piece: Piece, root: int, span: Span, register: Register) -> int:
    """Return a tone of the chord's scale a step from the next root; where that stays, the fifth."""
    following = piece.span_at(span.end_beat)
    goal = register.place(following.harmony.root, 0.7 * _HOME + 0.3 * root)
    if following is span or goal == root:
        return _pitch(piece, "2", root, span, register)
    # From the side on which the line already is; a whole step or a half one, as the scale has it.
    side = 1 if root > goal else -1
    steps = (goal + step for step in (side, 2 * side, -side, -2 * side))
    scale = span.harmony.scale
    return next((step for step in steps if step % 12 in scale and register.lowest <= step <= register.highest), root)


def _fold(pitch: int, register: Register) -> int:
    while pitch > register.highest:
        pitch -= 12
    while pitch < register.lowest:
        pitch += 12
    return pitch
