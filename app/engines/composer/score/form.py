"""The form: how bars fill the time exactly, which parts they make, and who plays in them.

A layout is data: how many bars go before and after the phrases of four, and which part each
pair of phrases belongs to. Nothing is repeated as it was: `take` counts how often a part's
material has been heard, and every writer varies by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from app.engines.composer.instruments import Role
from app.engines.composer.plan import Plan
from app.engines.composer.score.grid import Grid
from app.engines.composer.styles import Style

PHRASE_BARS: Final = 4
Material = Literal["A", "B", "C"]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the form, as the writers see it.

    Attributes:
        name: As `notation.Part` has it.
        material: Whose progression and motifs it uses.
        start_beat: From the start of the piece.
        end_beat: Where the next one starts.
        bars: Its length; the last may be cut short.
        energy: -1 (still) to 1 (driving).
        roles: Who plays.
        take: How often the material has been heard before.
        lift: Scale steps by which the tune lies higher than the first time.
        light_drums: Only what keeps the pulse.
        is_last: The piece, or the form before its final chord, ends here.
    """

    name: str
    material: Material
    start_beat: float
    end_beat: float
    bars: int
    energy: float
    roles: Set[Role]
    take: int
    lift: int
    light_drums: bool
    is_last: bool


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a part of this name is like.

    Attributes:
        energy: Added to the energy of the piece.
        resting: Roles that do not play, unless nobody would be left.
        light_drums: See `Section`.
    """

    energy: float = 0.0
    resting: Set[Role] = frozenset()
    light_drums: bool = False


_KINDS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        "intro": _Kind(-0.25, frozenset({"melody", "counter", "bass"}), light_drums=True),
        "pickup": _Kind(-0.15, frozenset({"melody", "counter"}), light_drums=True),
        "build": _Kind(-0.1, frozenset({"melody", "counter"})),
        "teaser": _Kind(-0.1, frozenset({"counter"}), light_drums=True),
        "A": _Kind(0.0, frozenset()),
        "B": _Kind(0.18, frozenset()),
        "bridge": _Kind(-0.15, frozenset({"arpeggio"}), light_drums=True),
        "breakdown": _Kind(-0.4, frozenset({"drums", "bass", "counter"})),
        "outro": _Kind(-0.25, frozenset({"counter"}), light_drums=True),
    }
)
_PUBLIC_NAMES: Final[Mapping[str, str]] = MappingProxyType({"pickup": "intro", "teaser": "build"})
_MATERIALS: Final[Mapping[str, Material]] = MappingProxyType({"B": "B", "bridge": "C"})
_COLOURS: Final = (0.0, 0.12, -0.1, 0.2, 0.05)
"""Energy added take by take, so that figures change when a part comes back."""

_INTRO_S: Final = 4.0
_INTRO_SHARE, _SHORT_INTRO_SHARE = 0.15, 0.2
"""Of a piece's time, how much an intro may take; the larger share as long as that is but a few seconds."""

_LONGEST_CLIP_S: Final = 40.0
_LONG_BARS, _LEAST_OUTRO_BARS = 40, 2

_BIG_BAND: Final = 4
_GUESTS: Final[Sequence[Role]] = ("counter", "arpeggio", "pad")
"""Of more players than a big band starts with, one of these rests at a time."""

_LAST_LIFT: Final = 0.4
"""Energy added to the last chorus of a long piece: it has more than all the others."""

_COUNTED: Final = frozenset({"A", "B", "bridge"})
"""Parts that are told apart by how often they have come; the others stand between them."""

_BODIES: Final[Mapping[Literal["song", "loop"], Mapping[int, Sequence[tuple[str, int]]]]] = MappingProxyType(
    {
        "song": {
            0: (),
            1: (("A", 1),),
            2: (("A", 2),),
            3: (("A", 1), ("B", 1), ("A", 1)),
            4: (("A", 2), ("B", 1), ("A", 1)),
            5: (("A", 2), ("B", 2), ("A", 1)),
            6: (("A", 2), ("B", 2), ("A", 2)),
            7: (("A", 2), ("B", 2), ("bridge", 1), ("A", 2)),
        },
        "loop": {
            0: (),
            1: (("A", 1),),
            2: (("A", 2),),
            3: (("build", 1), ("A", 2)),
            4: (("build", 1), ("A", 1), ("B", 1), ("A", 1)),
            5: (("build", 1), ("A", 2), ("breakdown", 1), ("A", 1)),
            6: (("build", 1), ("A", 2), ("breakdown", 1), ("B", 2)),
            7: (("build", 1), ("A", 2), ("breakdown", 1), ("B", 1), ("A", 2)),
            8: (("build", 2), ("A", 2), ("breakdown", 1), ("B", 1), ("A", 2)),
            9: (("build", 2), ("A", 2), ("breakdown", 1), ("B", 2), ("A", 2)),
            10: (("build", 2), ("A", 2), ("breakdown", 2), ("B", 2), ("A", 2)),
        },
    }
)
"""Parts and their phrases of four bars, by the phrases there are, for short pieces."""

_CYCLES: Final[Mapping[Literal["song", "loop"], Sequence[str]]] = MappingProxyType(
    {
        "song": ("A", "A", "B", "A", "bridge", "A", "B", "A", "breakdown", "B", "A", "B"),
        "loop": ("build", "A", "A", "B", "breakdown", "A", "B", "A", "bridge", "B", "A", "breakdown"),
    }
)
"""Parts of eight bars of longer pieces; they come round, and the last one is always an A with everybody."""


def lay_form(plan: Plan, style: Style, grid: Grid) -> tuple[Section, ...]:
    """Return the sections of the piece, without gaps over the body of the grid."""
    parts = list(_parts(plan, style, grid))
    roles = tuple(player.role for player in plan.players)
    choruses = [index for index, (name, _) in enumerate(parts) if name in _COUNTED]
    sections: list[Section] = []
    takes = {"A": 0, "B": 0, "C": 0}
    bar = 0
    for index, (name, bars) in enumerate(parts):
        kind = _KINDS[name]
        material = _MATERIALS.get(name, "A")
        take = takes[material]
        is_finale = len(choruses) > 3 and index == choruses[-1]
        colour = _LAST_LIFT if is_finale else _COLOURS[take % len(_COLOURS)] if len(choruses) > 1 else 0.0
        sections.append(
            Section(
                name=_public_name(name, take),
                material=material,
                start_beat=grid.beat_of_bar(bar),
                end_beat=grid.beat_of_bar(bar + bars),
                bars=bars,
                energy=min(max(plan.arousal + kind.energy + colour, -1.0), 1.0),
                roles=frozenset(roles) if is_finale else _playing(roles, kind, len(choruses), take + (name == "B")),
                take=take,
                lift=2 if is_finale else take % 3 // 2,
                light_drums=kind.light_drums,
                is_last=index == len(parts) - 1,
            )
        )
        takes[material] += name in _COUNTED
        bar += bars
    return tuple(sections)


def _public_name(name: str, take: int) -> str:
    if name in _PUBLIC_NAMES:
        return _PUBLIC_NAMES[name]
    return f"{name}{take + 1}" if name in "AB" and take else name


def _playing(roles: Sequence[Role], kind: _Kind, choruses: int, turn: int) -> Set[Role]:
    """Return who plays: in a big band the guests take turns at resting, so that each return is coloured anew."""
    resting = set(kind.resting)
    guests = [role for role in _GUESTS if role in roles]
    if choruses > 1 and len(roles) > _BIG_BAND and not resting:
        place = turn % (len(guests) + 1)
        resting.update(guests[place : place + 1])
    playing = frozenset(role for role in roles if role not in resting)
    return playing if playing - {"drums"} else frozenset(roles)


def _parts(plan: Plan, style: Style, grid: Grid) -> Iterator[tuple[str, int]]:
    """Yield name and bars of each part."""
    bars = grid.bars
    if bars <= PHRASE_BARS:
        yield "A", bars
        return
    if plan.opening == "continue":
        before, phrases, after = 0, bars // PHRASE_BARS, bars % PHRASE_BARS
    else:
        before, phrases, after = _split(grid)
    yield from _opening(before)
    if style.form == "blues":
        yield from _blues(phrases)
    else:
        # A clip would be over before a tune that is held back has come.
        build = "teaser" if grid.duration_s <= _LONGEST_CLIP_S else "build"
        yield from ((build if name == "build" else name, length) for name, length in _body(style.form, phrases))
    if after:
        # A section that is to be followed has no outro: its odd bars are more of the same.
        yield ("A" if plan.ending == "lead on" else "outro"), after


def _split(grid: Grid) -> tuple[int, int, int]:
    """Return bars of the intro, phrases of four bars, bars of the outro; long pieces take their time."""
    bars = grid.bars
    is_long = bars >= _LONG_BARS
    longest_s = max(_INTRO_SHARE * grid.duration_s, min(_SHORT_INTRO_SHARE * grid.duration_s, _INTRO_S))
    most = min(int(longest_s / (grid.beats_per_bar * grid.beat_s)), 4 if is_long else 2)
    if is_long:
        outside = _LEAST_OUTRO_BARS + (bars - most - _LEAST_OUTRO_BARS) % PHRASE_BARS
        return most, (bars - most - outside) // PHRASE_BARS, outside
    # The intro after which phrases of four bars leave the least over.
    before = min(range(most, 0, -1), key=lambda bar: (bars - bar) % PHRASE_BARS, default=0)
    return before, (bars - before) // PHRASE_BARS, (bars - before) % PHRASE_BARS


def _opening(bars: int) -> Iterator[tuple[str, int]]:
    """The harmony alone first; from its middle on, bass and beat."""
    if bars >= PHRASE_BARS:
        yield "intro", bars // 2
    if bars:
        yield "pickup", bars - bars // 2 if bars >= PHRASE_BARS else bars


def _body(form: Literal["song", "loop"], phrases: int) -> Iterator[tuple[str, int]]:
    if phrases in _BODIES[form]:
        yield from ((name, PHRASE_BARS * length) for name, length in _BODIES[form][phrases])
        return
    names = list(itertools.islice(itertools.cycle(_CYCLES[form]), phrases // 2 - 1))
    # An odd phrase makes the last contrast before the end a short one.
    for index, name in enumerate(names):
        yield name, 2 * PHRASE_BARS
        if index == len(names) - 1 and phrases % 2:
            yield "breakdown", PHRASE_BARS
    yield "A", 2 * PHRASE_BARS


def _blues(phrases: int) -> Iterator[tuple[str, int]]:
    """Choruses of twelve bars: head, solos, head; what is left is a shorter one."""
    choruses, left = divmod(phrases, 3)
    if left:
        yield "A", left * PHRASE_BARS
    for chorus in range(choruses):
        is_head = chorus == choruses - 1 or (chorus == 0 and not left)
        name = "A" if is_head else ("B", "B", "breakdown", "A")[chorus % 4]
        yield name, 3 * PHRASE_BARS
