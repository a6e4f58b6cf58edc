"""Chords by degree, as the styles write them, turned into tones, names and scales.

Roots are counted from the major scale whatever the mode, as lead sheets do: `bVI` is A flat
in C major and in C minor.

Every tone of a chord has a letter of its own: the third of a chord on E is some kind of G.
The scale over a chord is the mode with those letters replaced, so that the dominant of a
minor key brings its leading tone and a borrowed chord its flats, and nothing else changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

MODES: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "major": (0, 2, 4, 5, 7, 9, 11),
        "lydian": (0, 2, 4, 6, 7, 9, 11),
        "mixolydian": (0, 2, 4, 5, 7, 9, 10),
        "dorian": (0, 2, 3, 5, 7, 9, 10),
        "minor": (0, 2, 3, 5, 7, 8, 10),
        "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
        "melodic minor": (0, 2, 3, 5, 7, 9, 11),
        "phrygian": (0, 1, 3, 5, 7, 8, 10),
        "phrygian dominant": (0, 1, 4, 5, 7, 8, 10),
        "locrian": (0, 1, 3, 5, 6, 8, 10),
    }
)
"""Semitones of the seven degrees above the tonic."""

_CADENCES: Final[Mapping[str, str]] = MappingProxyType(
    {"mixolydian": "bVII", "dorian": "bVII", "phrygian": "bII", "phrygian dominant": "bII", "locrian": "bII"}
)
"""What leads home where a dominant would break the mode."""

_DEGREES: Final = ("i", "ii", "iii", "iv", "v", "vi", "vii")
_NUMERAL: Final = re.compile(r"([b#]?)(vii|vi|v|iv|iii|ii|i)(.*)", re.IGNORECASE)
_THIRD_LETTER, _FIFTH_LETTER, _SEVENTH_LETTER = 2, 4, 6

_ENDINGS: Final[Mapping[str, tuple[tuple[int, int], ...]]] = MappingProxyType(
    {
        "7": ((4, 7), (6, 10)),
        "maj7": ((4, 7), (6, 11)),
        "6": ((4, 7), (5, 9)),
        "9": ((4, 7), (6, 10), (1, 2)),
        "maj9": ((4, 7), (6, 11), (1, 2)),
        "add9": ((4, 7), (1, 2)),
        "aug": ((4, 8),),
        "": ((4, 7),),
    }
)
"""By ending: (letters, semitones) above the root of the tones after the third."""

_WHOLE_ENDINGS: Final[Mapping[str, tuple[tuple[int, int], ...]]] = MappingProxyType(
    {
        "m7b5": ((2, 3), (4, 6), (6, 10)),
        "dim7": ((2, 3), (4, 6), (6, 9)),
        "dim": ((2, 3), (4, 6)),
        "sus4": ((3, 5), (4, 7)),
        "sus2": ((1, 2), (4, 7)),
        "7sus4": ((3, 5), (4, 7), (6, 10)),
        "5": ((4, 7),),
    }
)
"""The same for endings that decide on the third themselves, whatever the numeral's case."""

_ADDED_SEVENTHS: Final[Mapping[tuple[int, int, int], str]] = MappingProxyType(
    {(4, 7, 11): "maj7", (4, 7, 10): "7", (3, 7, 10): "m7", (3, 6, 10): "m7b5", (3, 6, 9): "dim7"}
)
"""Semitones of third, fifth and seventh, and what people call them."""

_TRIADS: Final[Mapping[tuple[int, int], str]] = MappingProxyType(
    {(4, 7): "", (3, 7): "m", (3, 6): "dim", (4, 8): "aug", (4, 6): "(b5)"}
)
_LETTERS: Final = "CDEFGAB"
_NATURALS: Final = (0, 2, 4, 5, 7, 9, 11)
_ACCIDENTALS: Final[Mapping[int, str]] = MappingProxyType({-2: "bb", -1: "b", 0: "", 1: "#", 2: "##"})


@dataclass(frozen=True, slots=True)
class Harmony:
    """A chord without a place.

    Attributes:
        name: As a lead sheet has it.
        pitch_classes: Its tones, the root first.
        scale: One pitch class for each of the mode's seven degrees; holds all the tones.
    """

    name: str
    pitch_classes: tuple[int, ...]
    scale: tuple[int, ...]

    @property
    def root(self) -> int:
        return self.pitch_classes[0]


@dataclass(frozen=True, slots=True)
class Key:
    """A tonic and a mode: what degrees are counted in."""

    tonic: int
    mode: str

    @property
    def scale(self) -> tuple[int, ...]:
        """Pitch classes of the seven degrees."""
        return tuple((self.tonic + step) % 12 for step in MODES[self.mode])

    @property
    def is_minor(self) -> bool:
        return MODES[self.mode][_THIRD_LETTER] == 3

    @property
    def home(self) -> str:
        """Numeral of the tonic chord."""
        return "i" if self.is_minor else "I"

    @property
    def cadence(self) -> str:
        """Numeral of the chord that leads to the tonic chord."""
        return _CADENCES.get(self.mode, "V")


def suits(progression: str, key: Key) -> bool:
    """Tell whether the progression's tonic chords, if it has any, have the third of the key."""
    numerals = re.split(r"[\s,]+", progression.strip())
    homes = [numeral for numeral in numerals if re.match(r"i(?![iv])", numeral, re.IGNORECASE)]
    return all(numeral[0].islower() == key.is_minor for numeral in homes)


@lru_cache(maxsize=1024)
def read_numeral(numeral: str, key: Key, *, chord_tones: int = 3, diatonic: bool = False) -> Harmony:
    """Return the chord that a numeral means in a key.

    Args:
        numeral: As in `styles.py`: `ii7`, `bVImaj7`, `V`.
        key: What its degree is counted in.
        chord_tones: 4 to add the mode's own seventh to a chord written without ending.
        diatonic: Take the whole chord from the mode, whatever is written; for a progression
            made for another mode. A dominant stays one.
    Raises:
        ValueError: the numeral is none.
    """
    match = _NUMERAL.fullmatch(numeral)
    if match is None:
        raise ValueError(f"{numeral!r} is no chord by degree.")
    accidental, roman, ending = match.groups()
    degree = _DEGREES.index(roman.lower())
    if diatonic and roman != "V":
        root = key.scale[degree]
        tones, suffix = _diatonic_tones(root, degree, key, with_seventh=chord_tones == 4 or "7" in ending)
    else:
        root = (key.tonic + MODES["major"][degree] + {"": 0, "b": -1, "#": 1}[accidental]) % 12
        tones, suffix = _written_tones(roman, ending)
        if chord_tones == 4 and not ending:
            tones, suffix = _with_seventh(tones, suffix, root, degree, key)
    scale = list(key.scale)
    for letters, semitones in ((0, 0), *tones):
        scale[(degree + letters) % 7] = (root + semitones) % 12
    pitch_classes = (root, *((root + semitones) % 12 for _, semitones in tones))
    return Harmony(_name(root, degree, key) + suffix, pitch_classes, tuple(scale))


def read_progression(
    progression: str, key: Key, *, chord_tones: int = 3, diatonic: bool = False
) -> tuple[tuple[Harmony, ...], ...]:
    """Return the chords of each bar of a progression.

    Raises:
        ValueError: something in it is no chord by degree.
    """
    return tuple(
        tuple(read_numeral(each, key, chord_tones=chord_tones, diatonic=diatonic) for each in bar.split(","))
        for bar in progression.split()
    )


def tune_tones(harmony: Harmony, key: Key, *, pentatonic: bool) -> tuple[int, ...]:
    """Return the pitch classes from which a tune over the chord is made; all are of the chord's scale."""
    if not pentatonic:
        return tuple(dict.fromkeys(harmony.scale))
    avoided = (1, 5) if key.is_minor else (3, 6)
    kept = [tone for degree, tone in enumerate(harmony.scale) if degree not in avoided]
    # Where the chord itself is made of the avoided degrees, its tones are the better company.
    if len(set(kept) & set(harmony.pitch_classes)) < 2:
        kept.extend(harmony.pitch_classes)
    return tuple(dict.fromkeys(kept))


def rubs(pitch: int, pitch_classes: Sequence[int]) -> bool:
    """Tell whether a note that is held over a chord rubs against one of its tones.

    The semitone or minor ninth above a tone is what hurts, even between tones of one chord:
    the root over its own major seventh. Below a tone, a chord's own tones are a mild seventh.
    """
    apart = {(pitch - tone) % 12 for tone in pitch_classes}
    return 1 in apart or (11 in apart and 0 not in apart)


def _written_tones(roman: str, ending: str) -> tuple[tuple[tuple[int, int], ...], str]:
    if ending in _WHOLE_ENDINGS:
        return _WHOLE_ENDINGS[ending], ending
    if ending not in _ENDINGS:
        raise ValueError(f"{ending!r} is no ending of a chord.")
    third, suffix = (4, ending) if roman.isupper() else (3, f"m{ending}")
    return ((_THIRD_LETTER, third), *_ENDINGS[ending]), suffix


def _with_seventh(
    tones: tuple[tuple[int, int], ...], suffix: str, root: int, degree: int, key: Key
) -> tuple[tuple[tuple[int, int], ...], str]:
    """Add the key's own seventh, unless chord and key do not go together."""
    seventh = (key.scale[(degree + _SEVENTH_LETTER) % 7] - root) % 12
    name = _ADDED_SEVENTHS.get((tones[0][1], tones[1][1], seventh))
    return (tones, suffix) if name is None else ((*tones, (_SEVENTH_LETTER, seventh)), name)


def _diatonic_tones(root: int, degree: int, key: Key, *, with_seventh: bool) -> tuple[tuple[tuple[int, int], ...], str]:
    third, fifth = ((key.scale[(degree + letters) % 7] - root) % 12 for letters in (_THIRD_LETTER, _FIFTH_LETTER))
    tones = ((_THIRD_LETTER, third), (_FIFTH_LETTER, fifth))
    suffix = _TRIADS[third, fifth]
    return _with_seventh(tones, suffix, root, degree, key) if with_seventh else (tones, suffix)


def _name(root: int, degree: int, key: Key) -> str:
    """Return the root's name, with the letter that its degree has in the key."""
    letter = (_tonic_letter(key) + degree) % 7
    return _LETTERS[letter] + _ACCIDENTALS.get(_accidental(root, letter), "?")


@lru_cache(maxsize=256)
def _tonic_letter(key: Key) -> int:
    """Return the index of the letter with which the key has the fewest accidentals, flats where equal."""

    def accidentals(letter: int) -> tuple[int, int]:
        signs = [_accidental(pitch, (letter + degree) % 7) for degree, pitch in enumerate(key.scale)]
        return sum(abs(sign) for sign in signs), sum(signs)

    return min(range(7), key=accidentals)


def _accidental(pitch_class: int, letter: int) -> int:
    """Return by how many semitones a letter is raised to name a pitch class, -6 to 5."""
    return (pitch_class - _NATURALS[letter] + 6) % 12 - 6
