"""The built-in composer: music from the brief alone, with no token and no network.

`plan` decides what the piece is, `score` writes its notes, `render` makes them sound. The
first two are plain Python; `render` brings NumPy and is imported by the first piece, so
that a service which asks an upstream for its music does not carry it.
"""

from __future__ import annotations

import threading

from app.audio import encode_pcm16
from app.engines.composer.plan import make_plan
from app.engines.composer.score import compose
from app.engines.engine import Brief, Engine, Progress, Report, Take, ignore
from app.errors import UpstreamTimeout
from app.retry import Deadline, RetryPolicy
from app.settings import Settings


def build(settings: Settings) -> Engine:
    """Return the composer; it needs no configuration of its own."""
    return Composer(timeout_s=settings.deadline_s)


class Composer:
    """An engine that composes and renders by itself; one piece at a time, because each takes a whole core.

    The same brief gives the same bytes on one installation. Another version of NumPy may
    round a few samples differently; the notes stay.
    """

    name = "composer"

    def __init__(self, *, timeout_s: float) -> None:
        """
        Args:
            timeout_s: Longest wait for one piece, in seconds.
        """
        # A second attempt would do the same work with the same result.
        self.policy = RetryPolicy(attempts=1, timeout_s=timeout_s, backoff_s=0.0)
        self._turn = threading.Lock()

    def generate(self, brief: Brief, *, deadline: Deadline, report: Report = ignore) -> Take:
        """Return the piece: a WAV, stereo, of exactly `round(brief.duration_s * rate)` frames.

        Raises:
            UpstreamTimeout: the deadline passed before the piece was done.
        """
        if not self._turn.acquire(timeout=deadline.remaining_s()):
            raise UpstreamTimeout("The composer is still busy with other pieces.")
        try:
            return self._generate(brief, deadline, report)
        finally:
            self._turn.release()

    def _generate(self, brief: Brief, deadline: Deadline, report: Report) -> Take:
        def tell(message: str, fraction: float) -> None:
            if deadline.expired:
                raise UpstreamTimeout("The piece was not finished in time.")
            report(Progress(message, fraction))

        tell("Composing…", 0.0)
        plan = make_plan(brief)
        notes = compose(plan)
        tell("Rendering…", 0.1)
        from app.engines.composer.render import CHANNELS, RATE_HZ, render

        pcm = render(plan, notes, checkpoint=lambda share: tell("Rendering…", 0.1 + 0.8 * share))
        tell("Finishing…", 0.9)
        started_s = deadline.clock()
        audio = encode_pcm16(pcm, rate_hz=RATE_HZ, channels=CHANNELS)
        return Take(audio, decode_s=deadline.clock() - started_s)
