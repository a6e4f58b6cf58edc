"""From a plan to notes: who plays what, when, for how long and how loud.

Inside, time is counted in beats from the start and pitch, in the melody, in scale steps
above the tonic: a note outside the scale or off the grid cannot be written. Only
`_perform` turns beats into seconds.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.engines.composer.plan import CRASH, HAT, KICK, SCALES, SNARE, Figure, Part, Plan

BAR_BEATS: Final = 4
MAX_STRETCH: Final = 0.02
"""The tempo may be off by this share, so that the last chord rings as long as it should."""

MAX_LATENESS_S: Final = 0.009
"""Players are late by up to this; nobody is early, so the first note is not cut."""

_SHORTEST_RING_S, _GOOD_RING_S, _LONGEST_RING_S = 1.2, 2.0, 3.2

# The degree that leads back to the tonic without a note from outside the scale.
_CADENCE: Final[Mapping[str, int]] = {"major": 4, "lydian": 4, "mixolydian": 6, "dorian": 6, "minor": 6}

_CLOSE: Final[Figure] = "x---x-------...."
# Bars of a melody, from sparse to busy; each starts on the first beat or gets out of its way.
_RHYTHMS: Final[tuple[tuple[Figure, ...], ...]] = (
    ("x-------x---....", "x-----x---------", "x-----------x---", "....x---x-------"),
    ("x---x---x-x-x---", "x-----x-x---x---", "x-x-x---x-----x-", "..x-x---x-x-x---"),
    ("x-x-x-x-x---x-x-", "x--x--x-x-x-x-x-", "x-xxx-x-x-x-x---", "..x-x-x-x-xxx-x-"),
)
_CHORD_CENTRE, _MELODY_LOWEST, _MELODY_HIGHEST, _BASS_LOWEST = 60, 65, 83, 36


@dataclass(frozen=True, slots=True)
class Note:
    """One note.

    Attributes:
        start_s: Seconds from the start of the piece, 0 or later.
        duration_s: Seconds until the player lets go, at most to the end of the piece.
        pitch: MIDI number; for the drums, which drum.
        velocity: 1 to 127.
        part: Who plays it.
    """

    start_s: float
    duration_s: float
    pitch: int
    velocity: int
    part: Part


@dataclass(frozen=True, slots=True)
class Grid:
    """How the beats lie in the piece: `body_beats` in time, then the last chord to the end.

    Attributes:
        beat_s: Seconds a beat.
        body_beats: Beats before the last chord; whole bars where these fit, at least one beat.
        ring_beats: Beats for which the last chord sounds; not a whole number.
    """

    beat_s: float
    body_beats: int
    ring_beats: float


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord and its place.

    Attributes:
        start_beat: From the start of the piece.
        beats: How long it lasts.
        degree: Scale degree of the root, from 0.
        tones: Pitch classes, 0 to 11, root first.
    """

    start_beat: float
    beats: float
    degree: int
    tones: tuple[int, ...]

    @property
    def bar(self) -> int:
        return int(self.start_beat) // BAR_BEATS


@dataclass(frozen=True, slots=True)
class _Event:
    """A note in beats; `accent` is a share of the part's loudness."""

    beat: float
    beats: float
    pitch: int
    accent: float
    part: Part


def compose(plan: Plan) -> tuple[Note, ...]:
    """Return the notes of the piece in the order in which they start."""
    rng = random.Random(plan.seed)
    grid = lay_grid(plan.duration_s, plan.tempo_bpm)
    chords = harmonise(plan, grid)
    playing = [part for part, _ in plan.timbres]
    melody = tuple(_melody(plan, chords, rng))  # first, so that the tune is the same whoever else plays
    written = itertools.chain(melody, _comping(plan, chords), _bass(plan, chords), _drums(plan, grid))
    notes = [_perform(event, plan, grid, rng) for event in written if event.part in playing]
    return tuple(sorted(notes, key=lambda note: (note.start_s, note.part, note.pitch)))


def lay_grid(duration_s: float, tempo_bpm: float) -> Grid:
    """Return the grid on which a piece of `duration_s` seconds at about `tempo_bpm` ends exactly.

    Whole bars are tried first, then half bars, then beats, until the last chord need not
    ring for longer than sounds natural; the rest is a small stretch of the tempo.
    """
    beat_s = 60.0 / tempo_bpm
    units = (BAR_BEATS, BAR_BEATS // 2, 1)
    bodies = [max(int((duration_s - _SHORTEST_RING_S) / (beat_s * unit)) * unit, 1) for unit in units]
    body_beats = min(bodies, key=lambda beats: duration_s - beats * beat_s > _LONGEST_RING_S)  # the first that fits
    stretch = (duration_s - _GOOD_RING_S) / (body_beats * beat_s)
    beat_s *= min(max(stretch, 1 - MAX_STRETCH), 1 + MAX_STRETCH)
    beat_s = min(beat_s, duration_s / (body_beats + 0.5))  # a piece shorter than its first beat
    return Grid(beat_s, body_beats, duration_s / beat_s - body_beats)


def harmonise(plan: Plan, grid: Grid) -> tuple[Chord, ...]:
    """Return one chord per bar, the last of them the tonic with which the piece ends."""
    scale = SCALES[plan.mode]

    def chord(start_beat: float, beats: float, degree: int) -> Chord:
        steps = range(degree, degree + 2 * plan.tones, 2)
        return Chord(start_beat, beats, degree, tuple((plan.tonic + scale[step % 7]) % 12 for step in steps))

    bars = -(-grid.body_beats // BAR_BEATS)
    degrees = [plan.progression[bar % len(plan.progression)] for bar in range(bars)]
    if bars > 1:
        degrees[-1] = _CADENCE[plan.mode]
    body = [
        chord(bar * BAR_BEATS, min(BAR_BEATS, grid.body_beats - bar * BAR_BEATS), degree)
        for bar, degree in enumerate(degrees)
    ]
    return (*body, chord(grid.body_beats, grid.ring_beats, 0))


def _strokes(figure: Figure, beats: float) -> Iterator[tuple[float, float, str]]:
    """Yield (beat, beats, symbol) of a figure's sounds, cut to a bar of `beats`."""
    for stroke in re.finditer(r"[^.-]-*", figure):
        beat, held_beats = stroke.start() / 4, len(stroke.group()) / 4
        if beat < beats:
            yield beat, min(held_beats, beats - beat), stroke.group()[0]


def _intro_bars(bars: int) -> int:
    """Return how many bars pass before melody and drums enter: a short piece has none to spare."""
    return 0 if bars < 6 else 1 if bars < 14 else 2


# ---------------------------------------------------------------------- chords and bass


def _comping(plan: Plan, chords: Sequence[Chord]) -> Iterator[_Event]:
    voicing: tuple[int, ...] = ()
    for chord in chords:
        voicing = _voicing(chord, voicing)
        if chord is chords[-1]:
            # The last chord is rolled upwards, as a hand would.
            for index, pitch in enumerate(voicing):
                yield _Event(chord.start_beat + index * 0.06, chord.beats, pitch, 0.9, "chords")
            continue
        for beat, beats, symbol in _strokes(plan.comping, chord.beats):
            accent = 1.0 if beat == 0 else 0.85
            if symbol == "*":
                for pitch in voicing:
                    yield _Event(chord.start_beat + beat, beats, pitch, accent, "chords")
            else:
                # A broken chord rings on under the pedal.
                held_beats = min(beats * 3, chord.beats - beat)
                yield _Event(chord.start_beat + beat, held_beats, voicing[int(symbol) % len(voicing)], accent, "chords")


def _voicing(chord: Chord, previous: Sequence[int]) -> tuple[int, ...]:
    """Return the chord in the close position to which the hand moves least."""

    def inversions() -> Iterator[tuple[int, ...]]:
        for turn in range(len(chord.tones)):
            pitch = _CHORD_CENTRE - 14 + (chord.tones[turn] - (_CHORD_CENTRE - 14)) % 12
            close = [pitch]
            for tone in (*chord.tones[turn + 1 :], *chord.tones[:turn]):
                close.append(close[-1] + (tone - close[-1]) % 12)
            yield tuple(close)
            yield tuple(each + 12 for each in close)

    def cost(voicing: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
        motion = sum(abs(new - old) for new, old in zip(voicing, previous, strict=False))
        rubs = sum(above - below == 1 for below, above in itertools.pairwise(voicing))
        return motion + 4 * rubs + 0.8 * abs(sum(voicing) / len(voicing) - _CHORD_CENTRE), voicing

    return min(inversions(), key=cost)


def _bass(plan: Plan, chords: Sequence[Chord]) -> Iterator[_Event]:
    for chord in chords:
        root = _BASS_LOWEST + (chord.tones[0] - _BASS_LOWEST) % 12
        is_still = chord is chords[-1] or chord.bar < _intro_bars(len(chords) - 1)
        strokes = [(0.0, chord.beats, "0")] if is_still else _strokes(plan.bass, chord.beats)
        for beat, beats, symbol in strokes:
            above = (chord.tones[int(symbol)] - root) % 12
            # Fifths lie below a high root, so that the line stays where a bass speaks.
            pitch = root + above - (12 if root + above > _BASS_LOWEST + 14 else 0)
            yield _Event(chord.start_beat + beat, beats, pitch, 1.0 if beat == 0 else 0.88, "bass")


# ---------------------------------------------------------------------- melody


def _melody(plan: Plan, chords: Sequence[Chord], rng: random.Random) -> Iterator[_Event]:
    """Write a two-bar motif and restate it over the chords; every second statement comes to rest."""
    rhythms = _RHYTHMS[0 if plan.energy < -0.25 else 1 if plan.energy < 0.4 else 2]
    first, second = rng.sample(rhythms, 2)
    contours = _contour(rng), _contour(rng)
    pitches = _pitches(plan)
    centre = sorted(pitches)[len(pitches) // 2]
    last, leap = centre, 0
    for chord in chords[_intro_bars(len(chords) - 1) : -1]:
        place = (chord.bar - _intro_bars(len(chords) - 1)) % 8
        figure = (first, second, first, _CLOSE)[place % 4]
        lift = 2 if place >= 4 else 0  # the second half rises, or eight bars sound like four
        for (beat, beats, _), offset in zip(_strokes(figure, chord.beats), contours[place % 2], strict=False):
            is_strong = beat % 2 == 0 or beats >= 1
            near = [step for step in pitches if abs(step - last) <= 4]
            fitting = [step for step in near if pitches[step] % 12 in chord.tones] if is_strong else near
            target = centre + lift + offset
            costs = {
                step: _melodic_cost(step, pitches[step], target=target, last=last, leap=leap, chord=chord)
                for step in fitting
            }
            step = min(costs, key=costs.__getitem__)
            last, leap = step, step - last
            yield _Event(chord.start_beat + beat, beats * 0.95, pitches[step], 1.0 if is_strong else 0.86, "melody")
    end = chords[-1]
    tonic = min((step for step in pitches if step % 7 == 0), key=lambda step: abs(step - last))
    yield _Event(end.start_beat, end.beats, pitches[tonic], 0.95, "melody")


def _contour(rng: random.Random) -> list[int]:
    """Return a walk of scale steps around 0, for as many notes as a bar can have."""
    offsets = [rng.choice((-1, 0, 2))]
    while len(offsets) < 16:
        offsets.append(min(max(offsets[-1] + rng.choice((-2, -1, -1, 1, 1, 2, 3)), -4), 4))
    return offsets


def _pitches(plan: Plan) -> dict[int, int]:
    """Return the pitch of each scale step in the melody's register; steps divisible by 7 are the tonic."""
    ladder = {
        7 * octave + degree: 12 * octave + plan.tonic + semitones
        for octave in range(10)
        for degree, semitones in enumerate(SCALES[plan.mode])
    }
    return {step: pitch for step, pitch in ladder.items() if _MELODY_LOWEST <= pitch <= _MELODY_HIGHEST}


def _melodic_cost(step: int, pitch: int, *, target: int, last: int, leap: int, chord: Chord) -> float:
    """Return how badly a note would go on from `last`, which was reached by `leap`; all in scale steps but `pitch`."""
    motion = step - last
    recovers = motion * leap < 0 and abs(motion) <= 2
    rubs = pitch % 12 not in chord.tones and any((pitch - tone) % 12 in (1, 11) for tone in chord.tones)
    return (
        abs(step - target)
        + (3.0 if abs(leap) > 2 and not recovers else 0.0)
        + (1.5 if motion == 0 else 0.0)
        + (1.0 if rubs else 0.0)
        + 0.2 * abs(motion)
    )


# ---------------------------------------------------------------------- drums


def _drums(plan: Plan, grid: Grid) -> Iterator[_Event]:
    bars = -(-grid.body_beats // BAR_BEATS)
    for bar in range(bars):
        start_beat = bar * BAR_BEATS
        is_seam = bar % 4 == 3 or bar == bars - 1
        for drum, figure in plan.drums:
            if bar < _intro_bars(bars) and drum != HAT:
                continue
            # A quiet piece keeps its pulse on fewer strokes; a seam ends in a short roll.
            sparse = re.sub(r"(x.{3})x", r"\1.", figure) if drum == HAT and plan.energy < -0.3 else figure
            filled = sparse[:13] + "xxx" if drum == SNARE and is_seam and plan.energy > 0 else sparse
            for beat, beats, _ in _strokes(filled, grid.body_beats - start_beat):
                accent = 1.0 if beat % 1 == 0 else 0.7
                yield _Event(start_beat + beat, beats, drum, accent, "drums")
    yield _Event(grid.body_beats, 1.0, KICK, 0.9, "drums")
    if plan.energy > 0:
        yield _Event(grid.body_beats, grid.ring_beats, CRASH, 0.8, "drums")


# ---------------------------------------------------------------------- performance


def _perform(event: _Event, plan: Plan, grid: Grid, rng: random.Random) -> Note:
    """Return the event as played: swung, a little late, and louder or softer with the form."""
    lateness_s = rng.uniform(0.0, MAX_LATENESS_S)
    start_s = min(_swung(event.beat, plan.swing) * grid.beat_s + lateness_s, plan.duration_s)
    duration_s = min(max(event.beats * grid.beat_s, 0.04), plan.duration_s - start_s)
    bars = -(-grid.body_beats // BAR_BEATS)
    bar = int(event.beat) // BAR_BEATS
    form = 0.84 if bar < _intro_bars(bars) else 1.06 if bar % 8 >= 4 else 0.98 if bar < bars - 1 else 0.92
    velocity = (82 + 16 * plan.energy + rng.uniform(-5, 5)) * event.accent * form
    return Note(start_s, duration_s, event.pitch, min(max(round(velocity), 1), 127), event.part)


def _swung(beat: float, swing: float) -> float:
    """Return where a beat falls when the middle of each beat is moved to the share `swing`."""
    whole, share = divmod(beat, 1.0)
    return whole + (share * 2 * swing if share < 0.5 else swing + (share - 0.5) * 2 * (1 - swing))
