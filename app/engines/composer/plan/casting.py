"""Who plays what.

There are two ways to a cast. A *band* was asked for by name, and nobody else joins it; who
can play chords leads as well when nobody else does. Otherwise the style casts its roles, as
many as mood and length carry, and *guests* whom the request names take the roles that suit them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Final, get_args

from app.engines.composer.instruments import INSTRUMENTS, Role
from app.engines.composer.styles import Style

Cast = Mapping[Role, str]
"""Key of `INSTRUMENTS` by role."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)

_HARMONY: Final[tuple[Role, ...]] = ("chords", "arpeggio", "pad")
_ADDED_VOICES: Final[tuple[Role, ...]] = ("pad", "counter")
"""Roles that add nothing when somebody takes them who plays already."""

_CORE = 3
"""Roles that a style keeps in the calmest and shortest piece."""

_SHORT_S = 8.0
"""A piece up to here has no time for more than one role besides the core."""

_LONG_S = 60.0
"""A piece from here on has time for every role."""

_LARGEST_BAND = 8
"""Names of a band that are looked at; there are seven roles, and one name may have none left."""

# Who steps in when nobody of the style's cast is wanted.
_SUBSTITUTES: Final[Mapping[Role, Sequence[str]]] = {
    "melody": ("flute", "violin", "vibraphone", "clarinet", "acoustic guitar", "piano"),
    "chords": ("piano", "acoustic guitar", "strings", "harp", "organ", "polysynth"),
    "bass": ("electric bass", "double bass", "synth bass"),
}  # fmt: skip


def cast_band(names: Sequence[str], style: Style) -> dict[Role, str]:
    """Return the roles of a band that plays by itself; `names` are keys of `INSTRUMENTS`."""
    cast = _assign(names, style)
    chordal = [name for name in cast.values() if _plays_chords(name)]
    wanted: tuple[tuple[Role, ...], ...] = (("melody",), _HARMONY, ("bass",))
    for roles in wanted:
        if cast.keys().isdisjoint(roles):
            doublings = [
                (place, role, name)
                for name in chordal
                for place, role in enumerate(INSTRUMENTS[name].roles)
                if role in roles
            ]
            for _, role, name in sorted(doublings, key=lambda doubling: doubling[0])[:1]:
                cast[role] = name
    # Nobody answers their own tune.
    return {role: name for role, name in cast.items() if role != "counter" or name != cast.get("melody")}


def cast_style(
    style: Style,
    roles: Sequence[Role],
    *,
    guests: Sequence[str],
    before: Cast,
    banned: frozenset[str],
    rng: random.Random,
) -> dict[Role, str]:
    """Return who plays `roles` in `style`.

    Args:
        style: Whose cast is hired.
        roles: That are to be filled; guests may bring others.
        guests: Keys of `INSTRUMENTS` that have to play.
        before: Who had a role in the section before keeps it.
        banned: Keys of `INSTRUMENTS` that do not play.
        rng: Chooses among equals.
    """
    cast = _assign([name for name in guests if name not in before.values()], style)
    for role in roles:
        # One number a role, wanted or not, so that a guest changes nobody else's part.
        chance = rng.random()
        hired = [name for name in style.cast.get(role, ()) if name not in banned]
        free = [name for name in hired if name not in cast.values()]
        if not free and role not in _ADDED_VOICES:
            free = hired or [name for name in _SUBSTITUTES.get(role, ()) if name not in banned]
        kept = before.get(role)
        if role in cast or not (free or kept):
            continue
        # Squared, because the most typical stand first.
        cast[role] = kept if kept and kept not in banned else free[int(chance**2 * len(free))]
    return cast


def roles_for(style: Style, arousal: float, duration_s: float) -> list[Role]:
    """Return the roles of a piece that nobody asked for by name, the more the livelier and longer it is."""
    roles = [role for role in style.cast if role != "drums" or arousal >= style.drums_from]
    room = 0.75 * (arousal + 1) / 2 + 0.35 * min(duration_s / _LONG_S, 1.0)
    extras = 1 if duration_s < _SHORT_S else round((len(roles) - _CORE) * min(room, 1.0))
    return roles[: _CORE + max(extras, 0)]


def _plays_chords(name: str) -> bool:
    return not {"chords", "arpeggio"}.isdisjoint(INSTRUMENTS[name].roles)


def _assign(names: Sequence[str], style: Style) -> dict[Role, str]:
    """Return the cheapest way to give each name one role; who finds none stays out.

    The search remembers what the rest costs for each set of taken roles, of which there are at most 128.
    """
    band = tuple(dict.fromkeys(names))[:_LARGEST_BAND]
    known: dict[tuple[int, int], tuple[float, tuple[tuple[Role, str], ...]]] = {}

    def best(first: int, taken: int) -> tuple[float, tuple[tuple[Role, str], ...]]:
        if first == len(band):
            return 0.0, ()
        if (first, taken) not in known:
            name = band[first]
            cost, cast = best(first + 1, taken)
            choices = [(cost + _LEFT_OUT, cast)]
            for role in INSTRUMENTS[name].roles:
                bit = 1 << ROLES.index(role)
                if not taken & bit:
                    cost, cast = best(first + 1, taken | bit)
                    choices.append((cost + _cost(name, role, style), ((role, name), *cast)))
            known[first, taken] = min(choices, key=lambda choice: choice[0])
        return known[first, taken]

    return dict(best(0, 0)[1])


_LEFT_OUT = 10.0


def _cost(name: str, role: Role, style: Style) -> float:
    """Return how little `role` suits the instrument in `style`: 0 is its best role, 1 its second best."""
    row = INSTRUMENTS[name]
    cost = row.roles.index(role) - 0.6 * (name in style.cast.get(role, ()))
    # Who can play but one line leads; who can play chords accompanies, and leads where another accompanies too.
    if role == "melody":
        cost -= (0.5 if _plays_chords(name) else 2.0) + row.highest / 200
    if role == "bass":
        cost -= 1.0 - row.lowest / 100
    return cost
