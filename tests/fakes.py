"""Stand-ins for the parts of the service that take time or need a network; shared by all tests."""

from __future__ import annotations

import array
import math
from collections.abc import Callable

from flask.testing import FlaskClient

from app.audio import Audio, encode_pcm16
from app.engines.engine import Abilities, Brief, Document, Progress, Report, Take, ignore, keep_nothing
from app.errors import Cancelled
from app.retry import Deadline, RetryPolicy


def tone(duration_s: float = 1.0, *, rate_hz: int = 8_000) -> Audio:
    """Return a WAV that plays an A."""
    frames = int(duration_s * rate_hz)
    samples = array.array("h", (int(8_000 * math.sin(2 * math.pi * 440 * n / rate_hz)) for n in range(frames)))
    return encode_pcm16(samples.tobytes(), rate_hz=rate_hz, channels=1)


TONE = tone()

NOTES = Document(b"MThd and so on", "mid", 12.5)

Outcome = Audio | Document | BaseException
"""What one attempt comes to: the file it returns or the exception it raises."""


MakeClient = Callable[..., FlaskClient]
"""The fixture `make_client`: takes an engine (or None) and settings by the names of their variables."""


class FakeClock:
    """Monotonic time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.sleeps_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.sleeps_s.append(seconds)
        self.now_s += seconds


class FakeEngine:
    """An engine whose attempts come to the given outcomes, one after the other; the last one stays.

    Attributes:
        briefs: What it was asked for, in order.
        deadlines: Until when, in order.
        resumed: The tickets it was given, in order.
    """

    name = "fake"

    def __init__(
        self,
        *outcomes: Outcome,
        attempts: int = 1,
        timeout_s: float = 60.0,
        backoff_s: float = 2.0,
        abilities: Abilities | None = None,
        remarks: tuple[str, ...] = (),
        while_working: Callable[[], object] = lambda: None,
        ticket: str | None = None,
        let_go: Callable[[], object] = keep_nothing,
    ) -> None:
        """
        Args:
            outcomes: Of each attempt; none means audio.
            attempts: Attempts at most that its policy allows.
            abilities: Audio from free text by default.
            remarks: What each take comes with.
            while_working: Called in each attempt, before its outcome.
            ticket: Reported at the beginning of each attempt.
            let_go: Called when a file has gone out.
        """
        self.abilities = abilities or Abilities()
        self.policy = RetryPolicy(attempts=attempts, timeout_s=timeout_s, backoff_s=backoff_s)
        self.briefs: list[Brief] = []
        self.deadlines: list[Deadline] = []
        self.resumed: list[str | None] = []
        self._outcomes = list(outcomes) or [TONE]
        self._remarks = remarks
        self._while_working = while_working
        self._ticket = ticket
        self._let_go = let_go

    def generate(self, brief: Brief, *, deadline: Deadline, report: Report = ignore, resume: str | None = None) -> Take:
        self.briefs.append(brief)
        self.deadlines.append(deadline)
        self.resumed.append(resume)
        report(Progress("Composing…", ticket=self._ticket))
        self._while_working()
        if deadline.is_cancelled:
            raise Cancelled
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return Take(outcome, decode_s=0.0, remarks=self._remarks, let_go=self._let_go)
