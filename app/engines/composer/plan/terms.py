"""Musical terms in free text: keys and tempi.

Texts are `words.plain`; a mode or a tempo mark is a row of `_MODES` or `_PACES`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_MODES: Final[Mapping[str, str]] = {
    r"harmonic.?minor": "harmonic minor", r"phrygian dominant": "phrygian dominant",
    r"dorian|dorisch": "dorian", r"phrygian|phrygisch": "phrygian", r"locrian": "locrian", r"lydian|lydisch": "lydian",
    r"mixolydian|mixolydisch": "mixolydian", r"major|maj|majeur|mayor|maggiore|maior|ionian|dur": "major",
    r"melodic.?minor": "melodic minor", r"(?:natural )?minor|min|mineur|menor|minore|aeolian|moll": "minor",
}  # fmt: skip
_MODE: Final = "|".join(_MODES)
_SOLFEGE: Final = ("do", "re", "mi", "fa", "sol", "la", "si")
_TONICS: Final[Mapping[str, int]] = {
    **dict(zip("cdefgabh", (0, 2, 4, 5, 7, 9, 11, 11), strict=True)),
    **dict(zip(_SOLFEGE, (0, 2, 4, 5, 7, 9, 11), strict=True)),
}
_SHARP: Final = r"#|is|[ -]?(?:sharp|diese|sostenido|diesis)\b"
_FLAT: Final = r"e?s|b|[ -]{0,2}(?:flat|bemolle?|bemol)\b"

# In the order in which they are tried. Capitals tell "in A minor" from "in a minor key".
_KEYS: Final = (
    re.compile(r"\b(?P<tonic>[A-Ha-h])(?:(?P<sharp>is)|(?P<flat>e?s))?[ -]?(?P<mode>[Dd]ur|DUR|[Mm]oll|MOLL)\b"),
    re.compile(
        rf"\b(?P<tonic>{'|'.join(_SOLFEGE)})(?:(?P<sharp>{_SHARP})|(?P<flat>{_FLAT}))?[ -]"
        r"(?P<mode>majeur|mineur|mayor|menor|maggiore|minore|maior)\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?P<tonic>[B-Gb-g]|A(?! m\w+ (?:hit|event|city|label|success|change|setback|problem|threat)\b)"
        r"|(?<=key of )a|a(?=[#b]|[ -]{1,2}(?:flat|sharp)\b))"
        rf"(?:(?P<sharp>#|[ -]?sharp\b)|(?P<flat>b(?=[ -])|[ -]{{0,2}}flat\b))?[ -]*(?P<mode>(?i:{_MODE}))\b"
    ),
    re.compile(rf"\bin (?P<tonic>a) (?P<mode>{_MODE})(?=\s*(?:$|[^\w\s-]|\d|with\b|and\b|at\b|for\b))"),
    re.compile(r"\b(?:in|key of|[Kk]ey:) (?P<tonic>[A-G])(?:(?P<sharp>#)|(?P<flat>b))?(?P<mode>m(?:in)?)\b"),
    re.compile(
        r"\b(?:(?:key of|[Kk]ey:|in key) (?P<tonic>[A-Ga-g])|in (?P<capital>[A-G]))"
        r"(?:(?P<sharp>#|[ -]?sharp\b)|(?P<flat>b|[ -]{0,2}flat\b))?(?=\s*(?:$|[^\w\s']|with\b|at\b))"
    ),
)
_MODE_ALONE: Final = re.compile(
    r"\b(?:(?P<exotic>(?:harmonic|melodic) minor|phrygian dominant|locrian|dorian|phrygian|mixolydian|lydian)"
    r"|in (?P<bare>minor|major)"
    r"|(?P<keyed>minor|major)[ -](?:key|mode|scale|tonality|chords?|harmon|tune|melod|progression))"
)


class Key(NamedTuple):
    """What is said of the key: pitch class of the tonic, 0 (C) to 11, and key of `harmony.MODES`; None: not said."""

    tonic: int | None
    mode: str | None


def key_in(text: str) -> Key:
    """Return the key that a plain text asks for; its capitals matter."""
    match = next(filter(None, (pattern.search(text) for pattern in _KEYS)), None)
    if match is None:
        alone = _MODE_ALONE.search(text.casefold())
        return Key(None, next(filter(None, alone.groups())) if alone else None)
    said = match.groupdict()
    note = (said["tonic"] or said["capital"]).casefold()
    mode = (said.get("mode") or "").casefold()
    # A German B is what the others call B flat.
    german_b = note == "b" and mode in {"dur", "moll"} and not said.get("flat")
    tonic = _TONICS[note] + bool(said.get("sharp")) - (bool(said.get("flat")) or german_b)
    return Key(tonic % 12, _mode(mode))


def _mode(word: str) -> str | None:
    if word == "m":
        return "minor"
    return next((mode for pattern, mode in _MODES.items() if re.fullmatch(pattern, word)), None)


_BPM: Final = re.compile(
    r"\b(?P<low>\d{1,3}(?:\.\d)?)(?:\s?(?:-|to)\s?(?P<high>\d{2,3}))?\s?-?(?:bpm|beats? (?:per|a) minute)\b"
    r"|\b(?:bpm|tempo)(?: of|:| =|=)? ?(?P<set>\d{2,3})\b"
)

# Where a word lies in a style's range of tempi: 0 is its slowest.
_PACES: Final[Mapping[str, float]] = {
    r"prestissimo|breakneck|lightning": 1.0, r"presto|double.?time": 0.95, r"vivace": 0.85,
    r"fast(?:er|est)?\b|quick(?:er|ly)?\b|rapid|speed(?:y|ing)|high.?tempo|schnell|rapid[eo]|veloce|racing": 0.9,
    r"up.?tempo|up.?pace": 0.8, r"allegretto": 0.6, r"allegro|brisk": 0.75,
    r"moderato|(?:mid|medium|moderate).?(?:tempo|pace)": 0.5,
    r"andante|walking pace": 0.35, r"half.?time|adagio": 0.12, r"largo|larghetto|grave\b|lento": 0.05,
    r"slow(?:er|est|ly)?\b|slow.?paced|down.?tempo|langsam|lentement|lent[ao]?\b|despacio|devagar|piano piano": 0.1,
}  # fmt: skip
_PACE: Final = re.compile("|".join(rf"\b(?P<at{number}>{words})" for number, words in enumerate(_PACES)))


def tempo_in(text: str) -> float | None:
    """Return the beats per minute that plain small letters ask for in figures, as they stand there."""
    match = _BPM.search(text)
    if match is None:
        return None
    low = float(match["low"] or match["set"])
    return (low + float(match["high"])) / 2 if match["high"] else low


def pace_in(text: str) -> float | None:
    """Return where the words for tempi lie on the mean, 0 (slowest) to 1, or None without such words."""
    paces = tuple(_PACES.values())
    found = [paces[int((match.lastgroup or "").removeprefix("at"))] for match in _PACE.finditer(text)]
    return sum(found) / len(found) if found else None
