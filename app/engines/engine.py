"""What an engine is: the one interface between the service and whatever makes the music.

To add an engine: a folder or module beside this one with `build(settings)`, and one line
in `ENGINES` (`app/engines/__init__.py`). `tests/unit/engines/test_engines_contract.py` then holds
it to the demands below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.audio import Audio
from app.retry import Deadline, RetryPolicy


@dataclass(frozen=True, slots=True)
class Brief:
    """What a piece of music should be.

    Attributes:
        prompt: Free text, 1 to 1,000 characters.
        duration_s: Length in seconds.
        seed: 0 to 4294967295; the same brief and seed ask for the same piece.
        mood: Free text, or None.
        tempo_bpm: Beats per minute, or None.
        instruments: Names as the caller wrote them, possibly none.
    """

    prompt: str
    duration_s: float
    seed: int
    mood: str | None = None
    tempo_bpm: int | None = None
    instruments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running generation stands.

    Attributes:
        message: A sentence for people.
        fraction: Share done, 0 to 1, or None when unknown.
        queue_position: Requests ahead of this one at the upstream, or None when not queued.
        eta_s: The upstream's own estimate of the seconds left, or None.
    """

    message: str
    fraction: float | None = None
    queue_position: int | None = None
    eta_s: float | None = None


Report = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Be the `Report` of a caller who does not ask for progress."""


@dataclass(frozen=True, slots=True)
class Take:
    """One successful attempt.

    Attributes:
        audio: The piece, proven to play.
        decode_s: Seconds of the attempt spent turning the answer into proven audio.
    """

    audio: Audio
    decode_s: float


class Engine(Protocol):
    """Something that makes music. It is shared by all threads."""

    @property
    def name(self) -> str:
        """The engine's key in `ENGINES`."""

    @property
    def policy(self) -> RetryPolicy:
        """How often and for how long this engine should be asked."""

    def generate(self, brief: Brief, *, deadline: Deadline, report: Report = ignore) -> Take:
        """Make one attempt at the piece; repeating it is the caller's business.

        Returns within `deadline` plus one second, whatever happens.

        Raises:
            EngineError: and nothing else.
        """
