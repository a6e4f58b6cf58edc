"""From a brief to a plan: what the piece is, before any note is written.

`words`, `terms`, `moods` and `scenes` say what the request means, `casting` who plays what;
here it is decided. What the request leaves open is drawn from seeds that depend on all it says.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

from app.engines.composer.instruments import INSTRUMENTS, Role
from app.engines.composer.plan import casting, terms, words
from app.engines.composer.plan.moods import bounded, mood_in
from app.engines.composer.plan.scenes import Setting, setting_of
from app.engines.composer.plan.terms import Key
from app.engines.composer.plan.words import Mention, Wish
from app.engines.composer.styles import STYLES, Style
from app.engines.engine import Brief

SLOWEST_BPM, FASTEST_BPM = 40.0, 220.0

_DARK_BELOW = -0.1
"""Valence below which a piece is in the second of its style's modes."""

_SAME_TEMPO = 0.08
"""Share by which the words of a section may miss the tempo of the one before and still mean it."""

RING_S: Final = 2.0
"""How long the last notes of a section may sound into the next one."""

_OPPOSITE = 0.5
"""Valence, either way, from which on a section may leave the mode of the section before."""

# Pitch classes of keys with few accidentals, in which all the instruments are at home.
_BRIGHT_TONICS: Final = (0, 2, 3, 4, 5, 7, 9, 10)
_DARK_TONICS: Final = (9, 11, 0, 2, 4, 5, 7)
_BRIGHT_MODES: Final = frozenset({"major", "lydian", "mixolydian"})

_MADE_FOR: Final[Mapping[Role, frozenset[str]]] = {
    "bass": frozenset(name for name, row in INSTRUMENTS.items() if row.family == "bass"),
    "drums": frozenset(name for name, row in INSTRUMENTS.items() if row.roles[0] == "drums"),
}
_VOICES: Final = frozenset(name for name, row in INSTRUMENTS.items() if row.family == "voice")
_NO_VOICES: Final = re.compile(r"\binstrumentals?\b|\bkaraoke\b")
_LEADING: Final[frozenset[Role]] = frozenset({"melody", "counter"})
_NO_MELODY: Final = re.compile(r"\b(?:melod|lead\b(?! (?:guitar|synth|vocal))|tunes?\b)")
_BACKING: Final = re.compile(r"\b(?:backing track|karaoke|rhythm section only|play.?along)\b")


@dataclass(frozen=True, slots=True)
class Player:
    """One part of the band.

    Attributes:
        role: What it does.
        instrument: Key of `INSTRUMENTS`.
    """

    role: Role
    instrument: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the score and the render need to know; nothing else reaches them.

    Attributes:
        duration_s: Length of the piece in seconds, exactly.
        style: Key of `STYLES`.
        tempo_bpm: Quarter notes a minute as asked for; the score may stretch it by 2 %.
        tonic: Pitch class of the key note, 0 (C) to 11.
        mode: Key of `harmony.MODES`.
        valence: -1 (dark) to 1 (bright).
        arousal: -1 (still) to 1 (driving).
        players: One or more, at most one for a role, in the order of the mix.
        unknown_instruments: Listed names that nobody here plays, as the caller wrote them.
        theme: 64 bits for progression, motifs and grooves; the sections of a song share them.
        seed: 64 bits for everything else.
        opening: "continue" has no intro: everybody plays from the first beat.
        ending: "lead on" has no final chord: whole bars fill the time, and the last leads to the next section.
    """

    duration_s: float
    style: str
    tempo_bpm: float
    tonic: int
    mode: str
    valence: float
    arousal: float
    players: tuple[Player, ...]
    unknown_instruments: tuple[str, ...]
    theme: int
    seed: int
    opening: Literal["begin", "continue"] = "begin"
    ending: Literal["close", "lead on"] = "close"

    @property
    def ring_s(self) -> float:
        """How long it is heard beyond its duration, in seconds."""
        return RING_S if self.ending == "lead on" else 0.0

    @property
    def sounding_s(self) -> float:
        """How long it is heard, in seconds."""
        return self.duration_s + self.ring_s


def plan_of(brief: Brief) -> Plan:
    """Return the plan of a piece, or of a section that goes on with those before it."""
    if brief.place is None:
        return make_plan(brief)
    plan: Plan | None = None
    for before in brief.place.before:
        plan = make_plan(before, follows=plan, leads_on=True, common_seed=brief.place.seed)
    return make_plan(brief, follows=plan, leads_on=brief.place.leads_on, common_seed=brief.place.seed)


def make_plan(
    brief: Brief, *, follows: Plan | None = None, leads_on: bool = False, common_seed: int | None = None
) -> Plan:
    """Return the plan for `brief`; the same arguments always give the same one.

    Args:
        brief: Its duration may be 3 to 600 seconds; its texts may be anything.
        follows: The section before. What the brief does not ask for anew stays as it was there.
        leads_on: Another section follows.
        common_seed: Decides what a section and its neighbours must agree on, and the brief's own only how it is
            played: else what follows a section that is made again would not go with it any more. None: the brief's
            own seed decides it all.
    """
    request = _read(brief)
    common = brief if common_seed is None else replace(brief, seed=common_seed)
    rng = random.Random(_number(common, "choices"))
    style = request.setting.style
    if follows and not request.setting.genre:
        style = STYLES[follows.style]
    valence, arousal = _mood(request, style, follows, rng)
    mode = request.key.mode or _mode(request, style, valence, follows)
    return Plan(
        duration_s=brief.duration_s,
        style=style.name,
        tempo_bpm=_tempo_bpm(brief, request, style, arousal=arousal, follows=follows, rng=rng),
        tonic=_tonic(request, mode, follows, rng),
        mode=mode,
        valence=valence,
        arousal=arousal,
        players=_players(request, style, arousal=arousal, duration_s=brief.duration_s, follows=follows, rng=rng),
        unknown_instruments=request.unknown,
        theme=follows.theme if follows else _number(common, "theme"),
        seed=_number(brief, "performance"),
        opening="continue" if follows else "begin",
        ending="lead on" if leads_on else "close",
    )


def _number(brief: Brief, purpose: str) -> int:
    """Return 64 bits that depend on the purpose and on all that the brief says about the music.

    Its format says nothing about it. JSON in ASCII reads the same on every Python.
    """
    said = [brief.prompt, brief.mood, brief.tempo_bpm, brief.instruments, float(brief.duration_s), brief.seed, purpose]
    return int.from_bytes(hashlib.sha256(json.dumps(said).encode("ascii")).digest()[:8], "big")


# What the brief says -------------------------------------------------------------------------------------------------


class _Request(NamedTuple):
    """What the texts of a brief say.

    Attributes:
        prompt: In small letters.
        mood: Likewise.
        key: As asked for.
        setting: Style and scene.
        band: Who plays, and nobody else; empty: the style decides.
        guests: Who plays with the cast of the style.
        banned: Keys of `INSTRUMENTS` that do not play.
        silent: Roles that nobody plays.
        unknown: Listed names that nobody answers to, as the caller wrote them.
    """

    prompt: Wish
    mood: Wish
    key: Key
    setting: Setting
    band: tuple[Mention, ...]
    guests: tuple[Mention, ...]
    banned: frozenset[str]
    silent: frozenset[Role]
    unknown: tuple[str, ...]


def _read(brief: Brief) -> _Request:
    written = words.read_wish(brief.prompt)
    prompt, mood = written.folded(), words.read_wish(brief.mood or "").folded()
    guests = words.mentions_in(prompt.wanted)
    listed, refused, unknown = _read_list(brief.instruments)
    unwanted = f"{prompt.unwanted} , {mood.unwanted}"
    banned = words.with_kin(name for each in (*words.mentions_in(unwanted), *refused) for name in each.names)
    if _NO_VOICES.search(prompt.wanted):
        banned |= _VOICES.difference(name for each in (*guests, *listed) for name in each.names)
    no_melody = _NO_MELODY.search(unwanted) or _BACKING.search(prompt.wanted)
    return _Request(
        prompt=prompt,
        mood=mood,
        key=terms.key_in(f"{written.wanted} , {words.plain(brief.mood or '')}"),
        setting=setting_of(prompt, mood, [each.names[0] for each in (*guests, *listed)]),
        band=_allowed(listed, banned) or _allowed(words.alone_in(prompt.wanted, guests), banned),
        guests=_allowed(guests, banned),
        banned=banned,
        silent=_silenced(banned) | (_LEADING if no_melody else frozenset()),
        unknown=unknown,
    )


def _read_list(names: Sequence[str]) -> tuple[list[Mention], list[Mention], tuple[str, ...]]:
    """Return who is listed, who is listed as unwanted ("no drums"), and the names that nobody answers to."""
    listed: list[Mention] = []
    refused: list[Mention] = []
    unknown: list[str] = []
    for name in names:
        wish = words.read_wish(name).folded()
        meant = words.mentions_in(wish.wanted, listed=True) or words.mentions_in(
            words.respelled(wish.wanted), listed=True
        )
        unwanted = words.mentions_in(wish.unwanted, listed=True)
        if name.strip() and not meant and not unwanted:
            unknown.append(name)
        listed += meant
        refused += unwanted
    return listed, refused, tuple(unknown)


def _allowed(mentions: Iterable[Mention], banned: frozenset[str]) -> tuple[Mention, ...]:
    """Return the mentions without those who are banned."""
    left = (each._replace(names=tuple(name for name in each.names if name not in banned)) for each in mentions)
    return tuple(each for each in left if each.names)


def _silenced(banned: frozenset[str]) -> frozenset[Role]:
    """Return bass or drums where all who are made for them are banned, so that nobody steps in."""
    return frozenset(role for role, names in _MADE_FOR.items() if names <= banned)


# Mood, key and tempo -------------------------------------------------------------------------------------------------


def _mood(request: _Request, style: Style, follows: Plan | None, rng: random.Random) -> tuple[float, float]:
    """Return (valence, arousal): of the words and the scene, else of the section before, or the style."""
    variation = rng.uniform(-0.25, 0.25), rng.uniform(-0.15, 0.15)
    felt = _felt(request, with_scene=True)
    denied = mood_in(f"{request.prompt.unwanted} , {request.mood.unwanted}")
    # What is not wanted leans the piece the other way, less so where it is said what is.
    lean = 0.25 if felt else 0.5
    if felt is None:
        own = (follows.valence, follows.arousal) if follows else style.mood
        felt = (0.4 * own[0], 0.4 * own[1]) if denied else own
        felt = felt if follows else (felt[0] + variation[0], felt[1] + variation[1])
    denied = denied or (0.0, 0.0)
    # A section inherits what the tempo did to the one before.
    pace = None if follows else terms.pace_in(request.prompt.wanted)
    push = 0.0 if pace is None else 0.4 * (pace - 0.5)
    return bounded(felt[0] - lean * denied[0]), bounded(felt[1] - lean * denied[1] + push)


def _felt(request: _Request, *, with_scene: bool = False) -> tuple[float, float] | None:
    """Return (valence, arousal) of the mood words: of the field made for them above all, and least of the scene."""
    scene = request.setting.mood if with_scene else None
    weighed = ((4.0, mood_in(request.mood.wanted)), (1.0, mood_in(request.prompt.wanted)), (0.6, scene))
    said = [(weight, mood) for weight, mood in weighed if mood]
    if not said:
        return None
    whole = sum(weight for weight, _ in said)
    return (
        sum(weight * valence for weight, (valence, _) in said) / whole,
        sum(weight * arousal for weight, (_, arousal) in said) / whole,
    )


def _mode(request: _Request, style: Style, valence: float, follows: Plan | None) -> str:
    """Return the mode that suits the valence; a section only leaves that of the one before for a strong contrast."""
    bright, dark = style.modes
    if follows is None:
        return dark if valence < _DARK_BELOW else bright
    was_bright = follows.mode in _BRIGHT_MODES
    if _felt(request) and (valence < -_OPPOSITE if was_bright else valence > _OPPOSITE):
        return dark if was_bright else bright
    return follows.mode


def _tonic(request: _Request, mode: str, follows: Plan | None, rng: random.Random) -> int:
    drawn = rng.choice(_BRIGHT_TONICS if mode in _BRIGHT_MODES else _DARK_TONICS)
    if request.key.tonic is not None:
        return request.key.tonic
    return follows.tonic if follows else drawn


def _tempo_bpm(
    brief: Brief, request: _Request, style: Style, *, arousal: float, follows: Plan | None, rng: random.Random
) -> float:
    """Return the tempo: in figures, in words, of the section before, or as lively as the mood."""
    variation = rng.uniform(-0.03, 0.03)
    said_bpm = brief.tempo_bpm or terms.tempo_in(f"{request.prompt.wanted} {request.mood.wanted}")
    if said_bpm:
        return min(max(float(said_bpm), SLOWEST_BPM), FASTEST_BPM)
    pace = terms.pace_in(f"{request.prompt.wanted} {request.mood.wanted}")
    denied = terms.pace_in(f"{request.prompt.unwanted} {request.mood.unwanted}")
    if follows and pace is None and denied is None:
        return follows.tempo_bpm
    place = (arousal + 1) / 2 if pace is None else 0.8 * pace + 0.1 * (arousal + 1)
    if denied is not None:
        place += 0.5 * (0.5 - denied)
    slowest_bpm, fastest_bpm = style.tempo_bpm
    tempo_bpm = float(round(slowest_bpm + (fastest_bpm - slowest_bpm) * min(max(place + variation, 0.0), 1.0)))
    if follows and abs(tempo_bpm - follows.tempo_bpm) < _SAME_TEMPO * follows.tempo_bpm:
        return follows.tempo_bpm
    return tempo_bpm


# Players -------------------------------------------------------------------------------------------------------------


def _players(
    request: _Request, style: Style, *, arousal: float, duration_s: float, follows: Plan | None, rng: random.Random
) -> tuple[Player, ...]:
    """Return who plays, in the order of the mix."""
    before: dict[Role, str] = {}
    if follows and follows.style == style.name:
        before = {player.role: player.instrument for player in follows.players}
    if request.band:
        cast = casting.cast_band(_names(request.band, style), style)
    else:
        roles: Sequence[Role] = casting.roles_for(style, arousal, duration_s)
        # A soloist or a duo stays one whatever the mood, and so does a band of whose mood nothing is said.
        if before and (len(set(before.values())) <= 2 or not _felt(request)):
            roles = tuple(before)
        cast = casting.cast_style(
            style,
            [role for role in roles if role not in request.silent],
            guests=_names(request.guests, style),
            before=before,
            banned=request.banned,
            rng=rng,
        )
    heard = {role: name for role, name in cast.items() if role not in request.silent} or cast
    return tuple(Player(role, heard[role]) for role in casting.ROLES if role in heard) or (_LAST_RESORT,)


_LAST_RESORT: Final = Player("chords", "piano")
"""Plays when everybody is unwanted: a piece has to have somebody."""


def _names(mentions: Sequence[Mention], style: Style) -> list[str]:
    """Return all players of an ensemble, and of each other mention whoever is most at home in the style."""
    typical = [name for names in style.cast.values() for name in names]
    return [
        name
        for each in mentions
        for name in (
            each.names if each.ensemble else [next((name for name in typical if name in each.names), each.names[0])]
        )
    ]
