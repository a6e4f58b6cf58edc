"""Turns: a thread tells that it is about to wait, so that another one may begin.

Python runs one thread at a time. When a thousand requests arrive at once, a thousand threads that all have something to
do share that, and whatever should be answered at once (`/health`) gets a thousandth. So the server lets a few begin at
a time (`app.serving.worker`), and the next when one of these waits for somebody else: then it is idle for as long as
that takes. Who never tells is not waited for long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class _Turn(threading.local):
    """What the current thread does when it begins to wait, once."""

    over: Callable[[], object] | None = None


_turn = _Turn()


def begin(over: Callable[[], object]) -> None:
    """Begin the current thread's turn; `over` is called when it is over."""
    _turn.over = over


def rest() -> None:
    """End the current thread's turn, if it has one: it is going to wait, or is done."""
    over, _turn.over = _turn.over, None
    if over is not None:
        over()
