"""From a brief to a plan: what the piece is, before any note is written.

Everything here is data and a few lookups. To add a style, add a row to `STYLES`; rows are
tried from the top, so a narrow style stands before a broad one. To add a mood word or an
instrument name, add a row to `MOODS` or `INSTRUMENTS`.

A figure is one bar of 4/4 in sixteenths, one character each: a digit sounds that tone of
the chord (0 is the root), `*` sounds all of them, `x` is a stroke or a note of the melody,
`-` holds what sounds, `.` is a rest.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.engines.engine import Brief

Part = Literal["chords", "melody", "bass", "drums"]
Figure = str

KICK, SNARE, HAT, CRASH = 36, 38, 42, 49
"""Pitches of the drums part, as General MIDI numbers them."""

SCALES: Final[Mapping[str, tuple[int, ...]]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
}
"""Semitones above the tonic, per mode."""

# Scale degrees from 0, four bars each. None is diminished, and each starts where the ear can settle.
_PROGRESSIONS: Final[Mapping[str, tuple[tuple[int, ...], ...]]] = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (0, 5, 1, 4), (0, 2, 3, 4), (3, 4, 2, 5)),
    "lydian": ((0, 1, 0, 4), (0, 4, 1, 5), (0, 2, 1, 4)),
    "mixolydian": ((0, 6, 3, 0), (0, 3, 6, 3), (0, 4, 6, 3)),
    "dorian": ((0, 3, 0, 6), (0, 6, 3, 3), (0, 2, 3, 4)),
    "minor": ((0, 5, 2, 6), (0, 3, 5, 4), (0, 6, 5, 6), (5, 6, 0, 2)),
}


@dataclass(frozen=True, slots=True)
class Style:
    """A row of `STYLES`.

    Attributes:
        keywords: Regular expression; it is searched for at the start of words.
        tempo_range_bpm: Beats per minute of the calmest and the liveliest piece.
        mood: (valence, energy), -1 to 1, for a brief without mood words.
        modes: For bright and for dark pieces.
        timbres: Of chords, melody and bass.
        comping: Figures of the chords, calm and lively; they start on the first beat, so that no piece starts late.
        bass: Figures of the bass, calm and lively.
        drums: Figure per drum.
        drums_above: Energy (-1 to 1) above which drums play unasked.
        tones: Notes of a chord.
        swing: Where the second half of a beat falls, as a share of the beat; 0.5 is straight.
        reverb_s: Seconds until the room has died away.
    """

    name: str
    keywords: str
    tempo_range_bpm: tuple[int, int]
    mood: tuple[float, float]
    modes: tuple[str, str]
    timbres: tuple[str, str, str]
    comping: tuple[Figure, Figure]
    bass: tuple[Figure, Figure]
    drums: tuple[tuple[int, Figure], ...]
    drums_above: float = -2.0
    tones: int = 3
    swing: float = 0.5
    reverb_s: float = 1.4


STYLES: Final[Sequence[Style]] = (
    Style(
        "ambient", r"ambient|drone|meditat|atmospher|space|sleep|spa\b|soundscape", (56, 84), (0.2, -0.6),
        ("lydian", "minor"), ("pad", "bell", "bass"),
        ("*---------------", "0-1-2-3-2-1-2-1-"), ("0---------------", "0-------2-------"),
        ((KICK, "x..............."), (HAT, "....x.......x...")), drums_above=2.0, tones=4, reverb_s=3.2,
    ),
    Style(
        "lofi", r"lo-?fi|chill|hip.?hop|study|trip.?hop", (68, 92), (0.0, -0.2),
        ("major", "dorian"), ("epiano", "guitar", "bass"),
        ("*-----*---------", "*-----*---*-----"), ("0-----0---2-----", "0--.0-2---0-2-0-"),
        ((KICK, "x......x..x....."), (SNARE, "....x.......x..."), (HAT, "x.x.x.x.x.x.x.x.")), tones=4, swing=0.6,
    ),
    Style(
        "jazz", r"jazz|swing|bebop|bossa|blues|lounge", (84, 168), (0.3, 0.1),
        ("major", "dorian"), ("piano", "flute", "bass"),
        ("*-----*---------", "*-----*-----*-.."), ("0-------2-------", "0---1---2---1---"),
        ((KICK, "x.......x......."), (SNARE, "....x.......x..."), (HAT, "x...x.x.x...x.x.")), tones=4, swing=0.64,
    ),
    Style(
        "orchestral", r"orchestr|symphon|cinema|classical|film|movie|trailer|fantasy|epic", (66, 126), (0.0, 0.1),
        ("major", "minor"), ("strings", "flute", "bass"),
        ("*---------------", "*-----*-*---*-*-"), ("0---------------", "0-----0-2---0---"),
        ((KICK, "x.......x..x...."), (SNARE, "............x.xx")), drums_above=2.0, reverb_s=2.6,
    ),
    Style(
        "electronic", r"electro|edm|techno|house|trance|synth|dance|club|disco|dubstep", (104, 134), (0.0, 0.5),
        ("major", "minor"), ("pad", "synth", "bass"),
        ("*-------*-------", "*-.*-.*-.*-.*-.."), ("0---0---0---0---", "0-0-0-0-0-0-0-2-"),
        ((KICK, "x...x...x...x..."), (SNARE, "....x.......x..."), (HAT, "..x...x...x...x.")), reverb_s=1.8,
    ),
    Style(
        "rock", r"rock|punk|metal|grunge|indie|riff", (92, 156), (0.2, 0.5),
        ("mixolydian", "minor"), ("guitar", "synth", "bass"),
        ("*---*---*---*---", "*-*-*-*-*-*-*-*-"), ("0---0---0---2---", "0-0-0-0-0-0-2-0-"),
        ((KICK, "x.....x.x......."), (SNARE, "....x.......x..."), (HAT, "x.x.x.x.x.x.x.x.")), reverb_s=1.0,
    ),
    Style(
        "piano", r"piano|ballad|lullab|nocturne|solo\b", (60, 112), (0.2, -0.2),
        ("major", "minor"), ("piano", "piano", "bass"),
        ("0-1-2-1-0-1-2-1-", "0-2-1-2-0-2-1-2-"), ("0---------------", "0-------2-------"),
        ((KICK, "x.......x......."), (SNARE, "....x.......x..."), (HAT, "x...x...x...x...")),
        drums_above=2.0, reverb_s=2.0,
    ),
    Style(
        "pop", r"pop", (72, 126), (0.3, 0.0),
        ("major", "minor"), ("piano", "piano", "bass"),
        ("0-1-2-1-0-1-2-1-", "*---*---*---*---"), ("0---------------", "0-----0-2-----0-"),
        ((KICK, "x.......x.x....."), (SNARE, "....x.......x..."), (HAT, "x.x.x.x.x.x.x.x.")), drums_above=-0.5,
    ),
)  # fmt: skip
"""In the order in which they are tried; the last one takes every brief that is left."""

MOODS: Final[Mapping[str, tuple[float, float]]] = {
    "happ": (0.9, 0.4), "joy": (0.9, 0.6), "cheer": (0.8, 0.5), "upbeat": (0.7, 0.7), "hope": (0.6, 0.1),
    "energ": (0.4, 0.9), "epic": (0.1, 0.8), "fast": (0.2, 0.8), "angr": (-0.7, 0.9), "aggress": (-0.7, 0.9),
    "tens": (-0.6, 0.5), "dark": (-0.8, -0.1), "myster": (-0.5, -0.3), "sad": (-0.9, -0.6),
    "melanchol": (-0.7, -0.5), "nostalg": (-0.3, -0.4), "dream": (0.3, -0.6), "romant": (0.5, -0.3),
    "calm": (0.4, -0.8), "relax": (0.5, -0.7), "peace": (0.5, -0.8), "slow": (0.0, -0.7),
}  # fmt: skip
"""(valence, energy), -1 to 1, of words that start like this."""

INSTRUMENTS: Final[Mapping[str, str]] = {
    "drums": r"drum|percussion|beats?\b|kit\b",
    "bass": r"bass\b|bassline|contrabass",
    "piano": r"(?<!electric )piano|keys\b|keyboard",
    "epiano": r"electric piano|rhodes|wurlitzer",
    "strings": r"string|violin|viola\b|cello|orchestra",
    "guitar": r"(?<!bass )guitar|ukulele|harp\b|banjo|lute\b",
    "flute": r"flute|recorder|whistle|clarinet|piccolo",
    "bell": r"bells?\b|glockenspiel|vibraphone|celesta|music box",
    "synth": r"synth|lead\b",
    "pad": r"pads?\b|choir|organ\b",
}
"""What a name at the start of a word stands for: a timbre of `render.TIMBRES`, or the drums."""

# Who takes the chords and who the melody when several could: what sustains accompanies, what speaks leads.
_CHORDAL: Final = ("pad", "strings", "guitar", "epiano", "piano")
_MELODIC: Final = ("flute", "bell", "synth", "piano", "guitar", "epiano", "strings")

_NEGATION: Final = re.compile(
    r"\b(?:no|not|without|minus)[\s-]+(?:(?:any|a|the|too|very)\s+)?(\w+)(?:\s+(?:or|nor)\s+(\w+))?"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What `score.compose` and `render.render` need to know; nothing else reaches them.

    Attributes:
        duration_s: Length of the piece in seconds, exactly.
        tempo_bpm: Quarter notes per minute.
        style: Name of the row of `STYLES`.
        tonic: Pitch class of the key note, 0 (C) to 11.
        mode: Key of `SCALES`.
        progression: Scale degrees from 0, one per bar, repeated as needed.
        tones: Notes of a chord, 3 or 4.
        timbres: Timbre per part that plays; that of the drums is "drums".
        comping: Figure of the chords.
        bass: Figure of the bass.
        drums: Figure per drum.
        swing: Where the second half of a beat falls, as a share of the beat.
        energy: -1 (still) to 1 (driving).
        brightness: 0 (dark) to 1 (bright).
        reverb_s: Seconds until the room has died away.
        seed: For every choice still to be made.
    """

    duration_s: float
    tempo_bpm: float
    style: str
    tonic: int
    mode: str
    progression: tuple[int, ...]
    tones: int
    timbres: tuple[tuple[Part, str], ...]
    comping: Figure
    bass: Figure
    drums: tuple[tuple[int, Figure], ...]
    swing: float
    energy: float
    brightness: float
    reverb_s: float
    seed: int


def make_plan(brief: Brief) -> Plan:
    """Return the plan for `brief`; the same brief always gets the same one."""
    seed = _seed(brief)
    rng = random.Random(seed)
    prompt, unwanted = _split_negations(brief.prompt)
    mood, unwanted_mood = _split_negations(brief.mood or "")
    style = next((row for row in STYLES if re.search(rf"\b(?:{row.keywords})", f"{prompt} {mood}")), STYLES[-1])

    felt = _mood(mood) or _mood(prompt)
    valence, energy = felt or (style.mood[0] + rng.uniform(-0.4, 0.4), style.mood[1] + rng.uniform(-0.2, 0.2))
    mode = style.modes[0 if valence > -0.1 else 1]
    lively = int(energy > 0)
    slowest_bpm, fastest_bpm = style.tempo_range_bpm
    tempo_bpm = slowest_bpm + (fastest_bpm - slowest_bpm) * (energy + 1) / 2 + rng.uniform(-4, 4)
    verse, bridge = rng.sample(_PROGRESSIONS[mode], 2)
    return Plan(
        duration_s=brief.duration_s,
        tempo_bpm=float(brief.tempo_bpm or round(tempo_bpm)),
        style=style.name,
        tonic=rng.randrange(12),
        mode=mode,
        progression=(*verse, *bridge),
        tones=style.tones,
        timbres=_cast(style, energy, brief.instruments, prompt, f"{unwanted} {unwanted_mood}"),
        comping=style.comping[lively],
        bass=style.bass[lively],
        drums=style.drums,
        swing=style.swing,
        energy=energy,
        brightness=min(max(0.5 + 0.2 * valence + 0.3 * energy, 0.0), 1.0),
        reverb_s=style.reverb_s,
        seed=seed,
    )


def _seed(brief: Brief) -> int:
    """Return 64 bits that depend on every field; JSON in ASCII reads the same on every Python."""
    fields = [brief.prompt, brief.mood, brief.tempo_bpm, brief.instruments, float(brief.duration_s), brief.seed]
    return int.from_bytes(hashlib.sha256(json.dumps(fields).encode("ascii")).digest()[:8], "big")


def _split_negations(text: str) -> tuple[str, str]:
    """Return the text without its negated words, and those words."""
    folded = text.casefold()
    negated = " ".join(word for pair in _NEGATION.findall(folded) for word in pair)
    return _NEGATION.sub(" ", folded), negated


def _mood(text: str) -> tuple[float, float] | None:
    """Return the mean (valence, energy) of the mood words in `text`, or None when there is none."""
    found = [mood for stem, mood in MOODS.items() if re.search(rf"\b{stem}", text)]
    if not found:
        return None
    return sum(valence for valence, _ in found) / len(found), sum(energy for _, energy in found) / len(found)


def _instruments(text: str) -> set[str]:
    return {name for name, pattern in INSTRUMENTS.items() if re.search(rf"\b(?:{pattern})", text)}


def _cast(
    style: Style, energy: float, listed: Sequence[str], prompt: str, unwanted: str
) -> tuple[tuple[Part, str], ...]:
    """Return who plays.

    A list of instruments is the whole band: nobody else brings drums or a bass to it, and
    the chords' player takes the low notes. Instruments that the prompt mentions only
    replace those of the style.
    """
    band = _instruments(" , ".join(listed).casefold())
    banned = _instruments(unwanted)
    wanted = (band or _instruments(prompt)) - banned

    def pick(order: Sequence[str], default: str, *, taken: str = "") -> str:
        choices = (*(name for name in order if name in wanted and name != taken), default, *order)
        return next((name for name in choices if name not in banned), default)

    chords = pick(_CHORDAL, style.timbres[0])
    alone = band and chords in band and chords in _MELODIC
    melody = pick(_MELODIC, chords if alone else style.timbres[1], taken=chords)
    bass = "bass" if "bass" in wanted or not band else chords
    timbres: list[tuple[Part, str]] = [("chords", chords)]
    if not re.search(r"\bmelod", unwanted):
        timbres.append(("melody", melody))
    if "bass" not in banned:
        timbres.append(("bass", bass))
    if "drums" not in banned and ("drums" in wanted or (energy > style.drums_above and not band)):
        timbres.append(("drums", "drums"))
    return tuple(timbres)
