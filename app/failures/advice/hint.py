"""One piece of advice."""

from __future__ import annotations

from typing import NamedTuple


class Hint(NamedTuple):
    """What helps in this case.

    Attributes:
        text: A sentence without its full stop.
        replaces: Beginnings of other advice that says less than this, or the contrary.
        late: Whether it comes after the advice that goes with the kind.
    """

    text: str
    replaces: tuple[str, ...] = ()
    late: bool = False
