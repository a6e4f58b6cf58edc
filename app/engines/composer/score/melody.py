"""The tune.

First the pillars, the notes on strong beats and the long ones: tones of their chord that
follow the motif's contour, or colours that rub against none of them. Then what lies between
them: steps, neighbours and passing notes that lead from one pillar to the next. A leap is
followed by a step back, what is held rubs against no tone of its chord, and each phrase has
its peak late.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.engines.composer.score.changes import Span
from app.engines.composer.score.form import Section
from app.engines.composer.score.harmony import rubs, tune_tones
from app.engines.composer.score.motif import Motif, developed, filled, make_motif
from app.engines.composer.score.phrases import Slot, lay_phrases
from app.engines.composer.score.piece import Event, Piece
from app.engines.composer.score.voicing import Voicing, ladder

_WIDEST_LEAP: Final = 7
_HOME_STEPS: Final = 4
"""How many scale steps above the bottom of its register a tune is at home."""

_LEANING_BEATS: Final = 1.5
"""From this length on a note has room for another to lean on it first."""

_BREATH_BEATS: Final = 0.5
_LONGEST_BREATH_S: Final = 5.0
_HELD_S: Final = 0.25
"""A dissonance that is shorter is heard as passing."""

_SOLO_NOTE_S: Final = 0.8
"""How long the notes of a tune without accompaniment are at most, in the mean of a bar."""

_FORBIDDEN: Final = 100.0
_REPEATED: Final = 4.0
_COLOUR: Final = 3.0
_RUB: Final = 3.5
"""What faults of a note cost, in about semitones from where the contour aims."""


@dataclass(frozen=True, slots=True)
class _Tones:
    """What a tune may use over a chord, as pitches within its register.

    Attributes:
        scale: All of it.
        smooth: What may be held.
        chord: What may be held and is a tone of the chord.
        pitch_classes: Of the chord, the root first.
    """

    scale: Voicing
    smooth: Voicing
    chord: Voicing
    pitch_classes: tuple[int, ...]


def write_melody(piece: Piece) -> list[Event]:
    """Return the tune of the sections in which the melody plays, and its last note."""
    motifs = {
        material: make_motif(
            piece.rng(f"motif {material}", of_theme=True), piece.style.melody, piece.grid.beats_per_bar
        )
        for material in ("A", "B", "C")
    }
    usual_energy = piece.style.mood[1]
    writer = _Writer(piece)
    events: list[Event] = []
    least_onsets = _least_onsets(piece)
    for section in piece.sections_of("melody"):
        motif = developed(motifs[section.material], section.energy - usual_energy)
        events.extend(writer.section(section, filled(motif, least_onsets)))
    events.extend(writer.last_note())
    return _with_air(piece, events)


def _least_onsets(piece: Piece) -> int:
    """Return how many notes a bar of the motif has at least: a tune that has nobody else to listen to moves on."""
    return round(piece.bar_s / _SOLO_NOTE_S) if piece.is_unaccompanied("melody") else 1


class _Writer:
    """Writes section after section; remembers where the tune was."""

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self._steps = ladder(piece.key.scale, piece.tune_register)
        self._known: dict[tuple[int, ...], _Tones] = {}
        self._last = self._steps[min(_HOME_STEPS, len(self._steps) - 1)]

    def section(self, section: Section, motif: Motif) -> Iterator[Event]:
        """Yield the tune of a section."""
        slots = list(lay_phrases(self._piece, section, motif))
        pitches = self._pillars(slots)
        self._fill(slots, pitches)
        rng = self._piece.rng(f"ornaments {section.start_beat:g}")
        for slot, pitch in zip(slots, pitches, strict=True):
            yield from self._ornamented(slot, pitch, rng)
        if pitches:
            self._last = pitches[-1]

    def last_note(self) -> Iterator[Event]:
        """Yield the note with which the tune rests on the final chord."""
        final = self._piece.final
        if final is None:
            return
        tones = self._tones(final)
        # The root or, where that is far, the third.
        pitch = min(
            tones.chord,
            key=lambda pitch: (
                abs(pitch - self._last) + {0: 0, 1: 2}.get(tones.pitch_classes.index(pitch % 12), 9),
                pitch,
            ),
        )
        yield Event(final.start_beat, final.beats, pitch, 0.95)

    def _target(self, slot: Slot) -> int:
        """Return the pitch at which the contour aims."""
        return self._steps[min(max(_HOME_STEPS + slot.step, 0), len(self._steps) - 1)]

    def _pillars(self, slots: Sequence[Slot]) -> list[int]:
        """Return a pitch for each pillar, and 0 for the notes between them."""
        pitches = []
        last, between, leap = self._last, 0, 0
        for slot in slots:
            if not slot.is_pillar:
                pitches.append(0)
                between += 1
                continue
            span = self._piece.span_at(slot.beat)
            tones = self._tones(span)
            target = self._target(slot)
            costs = {
                pitch: self._pillar_cost(pitch, slot, target=target, last=last, between=between, leap=leap)
                + _COLOUR * (pitch not in tones.chord)
                for pitch in tones.smooth
            }
            pitch = min(costs, key=costs.__getitem__)
            pitches.append(pitch)
            leap = 0 if between else pitch - last
            last, between = pitch, 0
        return pitches

    def _pillar_cost(self, pitch: int, slot: Slot, *, target: int, last: int, between: int, leap: int) -> float:
        motion = pitch - last
        cost = 0.8 * abs(pitch - target) + 0.5 * abs(motion)
        cost += _FORBIDDEN * (abs(motion) > _WIDEST_LEAP + 2 * between)
        cost += _REPEATED * (motion == 0)
        if abs(leap) > 4 and not (motion * leap < 0 and abs(motion) <= 4):
            cost += 3.0
        if slot.rests:
            is_home = pitch % 12 == self._piece.plan.tonic
            cost += 4.0 * (is_home if slot.rests == "o" else not is_home)
        return cost

    def _fill(self, slots: Sequence[Slot], pitches: list[int]) -> None:
        """Find the notes between the pillars, in place."""
        last, leap = self._last, 0
        for index, slot in enumerate(slots):
            if not pitches[index]:
                following = next((place for place in range(index, len(slots)) if pitches[place]), None)
                goal = None if following is None else pitches[following]
                steps_left = 0 if following is None else following - index
                pitches[index] = self._between(slot, last=last, leap=leap, goal=goal, steps_left=steps_left)
            last, leap = pitches[index], pitches[index] - last

    def _between(self, slot: Slot, *, last: int, leap: int, goal: int | None, steps_left: int) -> int:
        span = self._piece.span_at(slot.beat)
        tones = self._tones(span)
        pool = [pitch for pitch in tones.scale if abs(pitch - last) <= _WIDEST_LEAP] or list(tones.scale)
        target = self._target(slot)
        is_held = slot.beats * self._piece.grid.beat_s >= _HELD_S

        def cost(pitch: int) -> tuple[float, int]:
            motion = abs(pitch - last)
            total = 0.6 * abs(pitch - target)
            total += 0.5 * _REPEATED if motion == 0 else 0.5 * max(motion - 2, 0)
            if abs(leap) > 4 and not ((pitch - last) * leap < 0 and motion <= 4):
                total += 3.0
            if goal is not None:
                ahead = abs(goal - pitch)
                total += 1.0 * max(ahead - 2 * steps_left, 0) + (1.0 if steps_left == 1 and ahead == 0 else 0.0)
                total += _FORBIDDEN * (ahead > _WIDEST_LEAP + 2 * (steps_left - 1))
            if pitch % 12 not in tones.pitch_classes:
                total += 0.4
                # Off the beat a foreign tone has to be left by step, so it is entered by step.
                total += 1.5 * (motion > 2)
            if pitch not in tones.smooth:
                total += _RUB if is_held else 0.6
            return total, pitch

        return min(pool, key=cost)

    def _ornamented(self, slot: Slot, pitch: int, rng: random.Random) -> Iterator[Event]:
        """Yield the note; where the piece is sad or dark a long one may lean on the tone above it first."""
        beat, beats = slot.beat, slot.beats
        span = self._piece.span_at(beat)
        tension = max(-self._piece.plan.valence, 0.0)
        has_room = slot.is_pillar and beats >= _LEANING_BEATS and span.end_beat - beat >= _LEANING_BEATS
        if has_room and not slot.rests and rng.random() < 0.5 * tension:
            above = next((each for each in self._tones(span).smooth if 0 < each - pitch <= 2), None)
            if above is not None:
                yield Event(beat, 0.5, above, slot.accent)
                beat, beats = beat + 0.5, beats - 0.5
        yield Event(beat, self._belongs_until(span, pitch, beat + beats) - beat, pitch, slot.accent)

    def _belongs_until(self, span: Span, pitch: int, end_beat: float) -> float:
        """Return until when a note may be held: into the next chord only if it is a tone of it."""
        while span.end_beat < end_beat - 1e-6:
            following = self._piece.span_at(span.end_beat)
            if following is span or pitch not in self._tones(following).chord:
                return span.end_beat
            span = following
        return end_beat

    def _tones(self, span: Span) -> _Tones:
        harmony = span.harmony
        place = (*harmony.pitch_classes, -1, *harmony.scale)
        if place not in self._known:
            register = self._piece.tune_register
            tune = tune_tones(harmony, self._piece.key, pentatonic=self._piece.style.pentatonic)
            scale = ladder(tune, register)
            smooth = tuple(pitch for pitch in scale if not rubs(pitch, harmony.pitch_classes))
            chord = tuple(pitch for pitch in smooth if pitch % 12 in harmony.pitch_classes)
            self._known[place] = _Tones(scale, smooth, chord, harmony.pitch_classes)
        return self._known[place]


def _with_air(piece: Piece, events: Sequence[Event]) -> list[Event]:
    """Return the tune with breaths for players who need them."""
    aired = list(events)
    if piece.breathes("melody"):
        since = 0.0
        for index, (event, following) in enumerate(itertools.pairwise(events)):
            if following.beat - event.end >= _BREATH_BEATS:
                since = following.beat
            elif (event.end - since) * piece.grid.beat_s > _LONGEST_BREATH_S and event.beats > _BREATH_BEATS:
                aired[index] = event._replace(beats=max(event.beats - _BREATH_BEATS, event.beats / 2))
                since = following.beat
    return aired
