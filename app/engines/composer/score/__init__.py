"""From a plan to notes: who plays what, when, for how long and how loud.

The order of composing is that of the modules: `grid` (time), `form` (parts), `changes`
(chords), then the tune and, around it, everybody else; `performance` plays what is written.
Inside, time is counted in beats from the start; seconds come last. Every part has a
generator of its own, so that nobody's notes depend on who else plays, except where they
listen: the answering line to the tune.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Final

from app.engines.composer.instruments import Role
from app.engines.composer.plan import Plan
from app.engines.composer.score.arpeggio import write_arpeggio
from app.engines.composer.score.bass import write_bass
from app.engines.composer.score.changes import lay_changes
from app.engines.composer.score.comping import write_chords
from app.engines.composer.score.continuity import without_silence
from app.engines.composer.score.counter import write_counter
from app.engines.composer.score.drums import write_drums
from app.engines.composer.score.form import lay_form
from app.engines.composer.score.grid import felt_tempo_bpm, lay_grid
from app.engines.composer.score.melody import write_melody
from app.engines.composer.score.notation import Chord, Note, Part, Score, Track
from app.engines.composer.score.pad import write_pad
from app.engines.composer.score.performance import perform
from app.engines.composer.score.piece import Event, Piece
from app.engines.composer.styles import STYLES

__all__ = ["Chord", "Note", "Part", "Score", "Track", "compose"]

_RITARD_BEATS: Final = 0.2
"""By how much loose players broaden before the final chord."""


def compose(plan: Plan) -> Score:
    """Return the score of the plan; the same plan gets the same one on every Python and platform."""
    piece = lay_out(plan)
    parts = without_silence(piece, _write(piece))
    # In double time two bars of the grid are one of those that people count.
    felt = felt_tempo_bpm(plan.tempo_bpm, piece.style.tempo_bpm) / plan.tempo_bpm
    return Score(
        duration_s=plan.duration_s,
        tempo_bpm=60.0 / piece.grid.beat_s / felt,
        beats_per_bar=piece.grid.beats_per_bar,
        tonic=plan.tonic,
        mode=plan.mode,
        form=tuple(_form(piece, felt)),
        chords=tuple(_chords(piece)),
        tracks=tuple(perform(piece, player, parts[player.role]) for player in plan.players),
    )


def lay_out(plan: Plan) -> Piece:
    """Return the piece before its notes: time, form and chords."""
    style = STYLES[plan.style]
    grid = lay_grid(
        plan.duration_s,
        felt_tempo_bpm(plan.tempo_bpm, style.tempo_bpm),
        style.beats_per_bar,
        final_chord=plan.ending == "close",
        ritard=_RITARD_BEATS * style.looseness,
    )
    sections = lay_form(plan, style, grid)
    return Piece(plan, style, grid, sections, lay_changes(plan, style, grid, sections))


def _write(piece: Piece) -> dict[Role, list[Event]]:
    melody = write_melody(piece)
    return {
        "melody": melody if piece.instrument("melody") is not None else [],
        "counter": write_counter(piece, melody),
        "chords": write_chords(piece),
        "arpeggio": write_arpeggio(piece),
        "pad": write_pad(piece, melody),
        "bass": write_bass(piece),
        "drums": write_drums(piece),
    }


def _form(piece: Piece, felt: float) -> Iterator[Part]:
    for name, sections in itertools.groupby(piece.sections, key=lambda section: section.name):
        together = list(sections)
        bars = math.ceil(sum(section.bars for section in together) / felt)
        yield Part(name, piece.grid.second(together[0].start_beat), bars)


def _chords(piece: Piece) -> Iterator[Chord]:
    for span in piece.spans:
        start_s = piece.grid.second(span.start_beat)
        end_s = piece.grid.second(span.end_beat)
        harmony = span.harmony
        yield Chord(start_s, end_s - start_s, harmony.name, harmony.pitch_classes, tuple(dict.fromkeys(harmony.scale)))
