"""What people's words mean: negations and instruments in free text.

A name that stands for any of several instruments is a row of `_GROUPS`; what one instrument
is called stands with the instrument. Patterns are written for `plain` texts, without
accents, and what they repeat is bounded, so that reading takes time in proportion to the text.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from app.engines.composer.instruments import INSTRUMENTS, Family

_LONGEST = 2_000
"""Characters that are read; one character may become eighteen when it is made plain."""

_LETTERS: Final = str.maketrans({
    "’": "'", "‘": "'", "ʼ": "'", "–": "-", "—": ",", "‐": "-", "_": " ", "♯": "#", "♭": " flat",
    "œ": "oe", "Œ": "Oe", "æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O", "ł": "l", "ı": "i",
})  # fmt: skip


def plain(text: str) -> str:
    """Return the text without accents and typographic signs; capitals stay, for the names of keys."""
    letters = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))[:_LONGEST]


# Negations -----------------------------------------------------------------------------------------------------------

# What begins like a negation and is none; "nothing but" even asks for what follows.
_NO_NEGATION: Final = re.compile(
    r"\b(?:no (?:more|less|fewer|later) than|no (?:doubt|matter|problem|worries|limits?|time|one|way)\b"
    r"|not (?:only|just|merely|unlike|bad)\b|why not|non[ -]?stop|without (?:a )?doubt"
    r"|(?:don'?t|do not|never) (?:stop|forget|worry|hesitate|mind|miss)(?: to)?\b)",
    re.IGNORECASE,
)
_ONLY: Final = re.compile(
    r"\bno(?:thing)? (?:but|except|other than)\b|\bnothing else\b"
    r"|\b(?:no|without(?: any)?) (?:(?:other|additional|more) (?:instruments?|sounds?)|accompaniment)\b",
    re.IGNORECASE,
)

# These are followed by things, so that a list after them is all unwanted: "no drums, bass or vocals".
_WITHOUT: Final = (
    r"(?:no|without(?: any)?|minus|avoid(?:ing)?|exclud(?:e|es|ing)|omit(?:ting)?|leav(?:e|ing) out|free (?:of|from)"
    r"|neither|(?:do|does|should|must|would)(?:n'?t| not) (?:want|need|like|use|add|include|have|play|put|bring)"
    r"|sans|sin(?! city)|ohne|senza|sem|kein(?:e[nrms]?)?|zero|pas (?:de|d'))"
)
# These may be followed by a quality, after which a comma starts something else: "not jazz, rock please".
_NOT: Final = (
    r"(?:not|non|never|nothing|nor|nicht|pas|anything but|instead of|rather than|except(?: for)?"
    r"|(?:do|does|should|must|would|is|are)(?:n'?t| not)(?: (?:be|sound|feel|get|make it))?)"
)
_FILLERS: Final = (
    r"(?:(?:any|an?|the|too|so|very|that|really|overly|being|be|getting|sounding|feeling|much|many|more|longer|of|kind|sort"
    r"|some|all|use|using|want|including|adding|having|playing|sound|feel|like|trop|zu|demasiado|troppo|muito)\s+){0,4}"
)
_BEFORE_NOUNS: Final = (
    r"(?:(?:electric|electronic|acoustic|bass|double|grand|upright|drum|synth|string|brass|french|church|pipe|steel|pan"
    r"|lead|backing|female|male|human|heavy|hard|loud|distorted|big|hip|trip|deep|death|black|lo|music|alto|tenor"
    r"|soprano|muted|slap|sub|soft|smooth|rock|live)[\s-]+){0,2}"
)
_ITEM: Final = rf"(?:{_FILLERS}{_BEFORE_NOUNS}(?!(?:or|nor|and|with|but|just|only|please)\b)[\w'&-]+)"
_OR: Final = r"\s*,?\s*\b(?:or|nor|oder|ou|ni|and no)\s+"
_AND: Final = r"\s*(?:,?\s*\b(?:and|und|et|y|e)\s+|&\s*)"
_END: Final = r"(?=\s*(?:[^\w\s'-]|$|(?:but|just|with|please|in|for|at|instead)\b))"

_NEGATION: Final = re.compile(
    rf"\b(?:{_WITHOUT}[\s-]+(?P<list>{_ITEM}(?:\s*,\s*{_ITEM}){{1,6}}(?:{_OR}|{_AND}){_ITEM}{_END})"
    rf"|(?:{_WITHOUT}|{_NOT})[\s-]+(?P<items>{_ITEM}(?:{_OR}{_ITEM}){{0,6}}(?:{_AND}{_ITEM}{_END})?))",
    re.IGNORECASE,
)
_LESS: Final = re.compile(
    r"\b(?P<free>\w{2,20})-free\b|\b(?P<less>drum|beat|bass|guitar|piano|vocal|voice|percussion)s?[ -]?(?:less|free)\b",
    re.IGNORECASE,
)


class Wish(NamedTuple):
    """A text in two: what it asks for, and what it asks to leave out. Both are plain."""

    wanted: str
    unwanted: str

    def folded(self) -> Wish:
        """Return the same in small letters."""
        return Wish(self.wanted.casefold(), self.unwanted.casefold())


def read_wish(text: str) -> Wish:
    """Return what `text` wants and what it does not, its negations taken out."""
    text = _ONLY.sub("only", _NO_NEGATION.sub(" ", plain(text)))
    unwanted: list[str] = []

    def take(match: re.Match[str]) -> str:
        unwanted.append(next(filter(None, match.groups()), ""))
        return " , "

    wanted = _LESS.sub(take, _NEGATION.sub(take, text))
    return Wish(wanted, " , ".join(unwanted))


# Instruments ---------------------------------------------------------------------------------------------------------


def _family(*families: Family) -> tuple[str, ...]:
    return tuple(name for name, row in INSTRUMENTS.items() if row.family in families)


# Names that any of several instruments answers to, the most usual first.
_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    r"guitars?\b|guitarras?|guitare|gitarren?|chitarra|violao|strumm": (
        "acoustic guitar", "electric guitar", "nylon guitar", "overdriven guitar", "jazz guitar", "distorted guitar"),
    r"(?:clean )?(?:electric|elektrische|lead|rhythm) (?:guitars?|gitarren?)|guitarra electrica|guitare electrique": (
        "electric guitar", "overdriven guitar", "distorted guitar", "jazz guitar"),
    r"bass\b|bass.?lines?|bassist|bajo\b|baixo\b|basso\b": (
        "electric bass", *(name for name in _family("bass") if name != "electric bass")),
    r"drums?\b|drum.?(?:kits?|sets?)|drummer|drumming|drum.?beats?|beats?\b|percussi\w*|perkussion|bateria|batterie"
    r"|batteria|schlagzeug|tambores|bass drums?|kick.?drums?|snares?\b|hi.?hats?|cymbals?|toms\b|tambourines?|shakers?"
    r"|maracas|bongos?|congas?|djembes?|tablas?|cajon|taiko|claps\b|hand.?claps": (
        "drums", "electronic drums", "brushes"),
    r"bells?\b|chimes?\b|campanas?|glocken\b|sleigh bells": ("glockenspiel", "tubular bells", "celesta", "music box"),
    r"mallets?|mallet percussion": ("marimba", "vibraphone", "xylophone"),
    r"organs?\b|orgel|orgue|organo\b|orgao": ("organ", "church organ"),
    r"keyboards?|keyboardist": ("piano", "electric piano", "organ", "polysynth", "clavinet", "harpsichord"),
    r"sax(?:ophone?|ofon|ofono|ophon|aphone|o)?s?\b|sassofono": ("tenor sax", "alto sax", "soprano sax"),
    r"wood.?winds?|wind (?:section|ensemble|instruments?)": ("flute", "clarinet", "oboe", "bassoon"),
    r"horns\b|horn (?:section|stabs?)": ("brass", "french horn", "trumpet", "trombone"),
    r"voices?\b|vocals?\b|vox\b|vocalists?|sing(?:ing|ers?)\b|voz\b|voces|voix|vozes|stimmen?\b|gesang": (
        "voice", "choir"),
    r"synth(?:s|esi[sz]ers?|esi[sz]ed|etizer|etiseur|etizador)?\b|electronics\b": (
        "saw lead", "polysynth", "square lead", "warm pad"),
}  # fmt: skip

# Names that mean an instrument in a list of instruments, and often something else in a sentence.
_IN_LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    r"keys?\b": ("piano", "electric piano", "organ", "polysynth"),
    r"vibes?\b": ("vibraphone",),
    r"lead\b|saw\b": ("saw lead",),
    r"kit\b|beat": ("drums", "electronic drums", "brushes"),
    r"winds?\b|pipes?\b": ("flute", "clarinet", "oboe", "bassoon"),
    r"horn\b": ("french horn",),
    r"square\b": ("square lead",),
}  # fmt: skip

_ENSEMBLES: Final[Mapping[str, tuple[str, ...]]] = {
    r"string (?:quartet|quintet|trio)|streichquartett|quatuor": ("violin", "viola", "cello", "strings"),
    r"piano (?:trio|quartet|quintet)": ("piano", "violin", "cello"),
    r"jazz (?:trio|combo)": ("piano", "double bass", "brushes"),
    r"jazz (?:quartet|quintet)": ("tenor sax", "piano", "double bass", "brushes"),
    r"power trio|rock trio": ("overdriven guitar", "electric bass", "drums"),
    r"brass (?:quartet|quintet|ensemble|band)|fanfare band": ("trumpet", "french horn", "trombone", "tuba", "brass"),
    r"(?:wood)?wind (?:quartet|quintet|trio)": ("flute", "oboe", "clarinet", "bassoon", "french horn"),
    r"a.?cap?pella": ("voice", "choir"),
}  # fmt: skip
"""Names of bands: these players, and nobody else."""

# Who is meant as well when somebody is not wanted: without strings there is no violin either.
_KIN: Final[Mapping[str, tuple[str, ...]]] = {
    "piano": ("honky-tonk piano", "electric piano"),
    "strings": ("violin", "viola", "cello", "fiddle", "pizzicato strings"),
    "brass": _family("brass"),
    "choir": ("voice",),
    "voice": ("choir",),
    "drums": _family("drums"),
}

# Genres and phrases that contain the name of an instrument and ask for none.
_NO_INSTRUMENT: Final = re.compile(
    r"\b(?:drum\W{0,2}(?:and|n|&)\W{0,2}bass|(?:future|drop the|drops? of) bass|bass (?:house|music|drops?)|brass tacks"
    r"|bed ?time|heart ?beats?|no strings attached|string theory|sound ?bites?|(?:inner|your|my|his|her) voice)\b"
)


class Mention(NamedTuple):
    """Instruments that a text names, and where.

    Attributes:
        start: Index of the first character.
        end: Index after the last one.
        names: Keys of `INSTRUMENTS`: whoever of them fits best, or all players of an ensemble.
        ensemble: All of them play, and nobody else.
    """

    start: int
    end: int
    names: tuple[str, ...]
    ensemble: bool = False


_NAMES: Final = (
    *((re.compile(rf"\b(?:{row.words})"), (name,), False) for name, row in INSTRUMENTS.items()),
    *((re.compile(rf"\b(?:{words})"), names, False) for words, names in _GROUPS.items()),
    *((re.compile(rf"\b(?:{words})"), names, True) for words, names in _ENSEMBLES.items()),
)
_LISTED_NAMES: Final = (
    *_NAMES,
    *((re.compile(rf"\b(?:{words})"), names, False) for words, names in _IN_LISTS.items()),
    (re.compile(r"\b(?:full |symphony |philharmonic )?orchestra"), ("strings", "flute", "french horn", "cello"), True),
)


def mentions_in(text: str, *, listed: bool = False) -> list[Mention]:
    """Return who is named in plain small letters, in the order of the text; of names inside names the longest counts.

    Args:
        listed: The text is a name from a list of instruments, where "keys" and "vibes" are instruments.
    """
    # Who picks a name from the instruments on offer gets that one; but drums are whatever kit the style has.
    if listed and text.strip() in INSTRUMENTS and text.strip() != "drums":
        return [Mention(0, len(text), (text.strip(),))]
    if not listed:
        text = _NO_INSTRUMENT.sub(lambda match: " " * len(match[0]), text)
    found = [
        Mention(*match.span(), names, ensemble)
        for pattern, names, ensemble in (_LISTED_NAMES if listed else _NAMES)
        for match in pattern.finditer(text)
    ]
    longest: list[Mention] = []
    taken = bytearray(len(text))
    for mention in sorted(found, key=_longest_first):
        if not any(taken[mention.start : mention.end]):
            taken[mention.start : mention.end] = b"x" * (mention.end - mention.start)
            longest.append(mention)
    return sorted(longest)


def _longest_first(mention: Mention) -> tuple[int, int, bool, int]:
    return mention.start - mention.end, mention.start, not mention.ensemble, len(mention.names)


def with_kin(names: Iterable[str]) -> frozenset[str]:
    """Return the instruments that do not play when `names` are not wanted."""
    return frozenset(kin for name in names for kin in (name, *_KIN.get(name, ())))


_SPELLINGS: Final = (
    *INSTRUMENTS, "guitar", "bass", "saxophone", "organ", "synthesizer", "percussion", "vocals", "keyboard",
    "orchestra", "ukulele", "mandolin", "contrabass", "woodwinds",
)  # fmt: skip


def respelled(name: str) -> str:
    """Return the name that one in plain small letters is a misspelling of, or itself when none is close."""
    return next(iter(difflib.get_close_matches(name.strip()[:40], _SPELLINGS, n=1, cutoff=0.8)), name)


_ADJECTIVES: Final = (
    r"(?: (?!with\b|for\b|in\b|and\b|of\b|song|music|piece|track|tune|melod|featuring)[\w-]{1,20}){0,2}"
)
_ONLY_BEFORE: Final = re.compile(
    rf"\b(?:only|just|purely|simply)(?: for| with| on)?(?:,? (?:an?|the|one|single|some|my))?{_ADJECTIVES} ?$"
)
_SOLO_BEFORE: Final = re.compile(
    r"\b(?:solo|unaccompanied|(?:duo|duett?|trio|quartet)(?: piece| song)?(?: of| for| between| with)?)"
    rf"(?: an?| one| two)?{_ADJECTIVES} ?$"
)
_ONLY_AFTER: Final = re.compile(r"^\W{0,3}(?:only|alone|unaccompanied|by (?:itself|themselves))\b")
_SOLO_AFTER: Final = re.compile(r"^ ?(?:solo|duo|duet|trio)\b(?! (?:over|on top|in the))")
# A guitar solo in "a rock song with a guitar solo" does not make the song one for guitar alone.
_IS_GUEST: Final = re.compile(
    r"\b(?:with|featuring|feat|has|and|plus|including|over|then|followed by|into)\b[\w ]{0,30}$|[,;.][^,;.]{0,40}$"
)
_JOINED: Final = re.compile(r"^(?:[\s,&+/]|\b(?:and|with|plus|an?|und|et|y|e|the|solo)\b){1,8}$")


def alone_in(text: str, mentions: Sequence[Mention]) -> tuple[Mention, ...]:
    """Return those of the mentions in `text` that are to play with nobody else, such as that in "solo piano"."""
    if any(mention.ensemble for mention in mentions):
        return tuple(mention for mention in mentions if mention.ensemble)
    for first, mention in enumerate(mentions):
        last = first
        while last + 1 < len(mentions) and _JOINED.match(text[mentions[last].end : mentions[last + 1].start]):
            last += 1
        before, after = text[max(mention.start - 80, 0) : mention.start], text[mentions[last].end :][:20]
        solo = _SOLO_BEFORE.search(before)
        if (
            _ONLY_BEFORE.search(before)
            or _ONLY_AFTER.match(after)
            or (solo and not _IS_GUEST.search(before[: solo.start()].rstrip(" ,")))
            or (_SOLO_AFTER.match(after) and not _IS_GUEST.search(before))
        ):
            return tuple(mentions[first : last + 1])
    return ()
