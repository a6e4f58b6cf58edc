"""The built-in composer: music from the brief alone, with no token and no network.

`plan` decides what the piece is, `score` writes its notes, `render` makes them sound with
the instruments of `sampler`; `midi` and `stems` hand out the notes and the players one by
one. All but the plan is imported by the first piece, and NumPy by the first that sounds: a
service which asks an upstream for its music does not carry them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import structlog

from app.audio import AUDIO_FORMATS, Audio, encode_pcm16
from app.engines.composer.instruments import INSTRUMENTS
from app.engines.composer.plan import Plan, plan_of
from app.engines.composer.plan.moods import MOODS
from app.engines.composer.styles import STYLES
from app.engines.engine import Abilities, Brief, Document, Engine, Progress, Report, Take, ignore
from app.retry import Deadline, RetryPolicy
from app.settings import Settings

if TYPE_CHECKING:
    from app.engines.composer.render.sampler import Sampler
    from app.engines.composer.score import Score

_log = structlog.get_logger(__name__)

ABILITIES: Final = Abilities(
    formats=(*AUDIO_FORMATS, "mid", "stems"),
    styles=tuple(STYLES),
    moods=tuple(MOODS),
    instruments={name: row.family for name, row in INSTRUMENTS.items()},
    sections=True,
)


def build(settings: Settings) -> Engine:
    """Return the composer; it needs no configuration of its own."""
    return Composer(timeout_s=settings.deadline_s)


class Composer:
    """An engine that composes and renders by itself.

    One piece sounds at a time, the others wait for their turn within their deadlines: a render
    takes a whole core and most of the memory that a small machine has. Notes alone wait for nobody.

    The same brief gives the same bytes on one installation. Another version of NumPy may
    round a few samples differently; the notes stay.
    """

    name = "composer"
    abilities = ABILITIES

    def __init__(self, *, timeout_s: float) -> None:
        """
        Args:
            timeout_s: Longest wait for one piece, in seconds.
        """
        # A second attempt would do the same work with the same result.
        self.policy = RetryPolicy(attempts=1, timeout_s=timeout_s, backoff_s=0.0)
        self._turn = threading.Lock()
        self._sampler: Sampler | None = None

    def generate(
        self,
        brief: Brief,
        *,
        deadline: Deadline,
        report: Report = ignore,
        resume: str | None = None,  # noqa: ARG002 - what a killed process had composed is composed again
    ) -> Take:
        """Return the piece: a WAV of exactly `round(brief.duration_s * rate)` stereo frames, or a document.

        The WAV of a section that is followed by another one is longer, by the time that its last notes ring.

        Raises:
            UpstreamTimeout: the deadline passed before the piece was done.
            Cancelled: the deadline was cancelled before.
        """

        def tell(message: str, fraction: float) -> None:
            if deadline.expired:
                raise deadline.error("The piece was not finished in time.")
            report(Progress(message, fraction))

        from app.engines.composer.score import compose

        tell("Composing…", 0.0)
        plan = plan_of(brief)
        _log.info(
            "planned piece",
            style=plan.style,
            tonic=plan.tonic,
            mode=plan.mode,
            tempo_bpm=round(plan.tempo_bpm, 1),
            players=[f"{player.role}: {player.instrument}" for player in plan.players],
        )
        score = compose(plan)
        tell("Composing…", 0.1)
        remarks = tuple(f'Nobody here plays "{name}".' for name in plan.unknown_instruments)
        if brief.format == "mid":
            return Take(_write_down(score), decode_s=0.0, remarks=remarks)
        with self._turn_by(deadline, report) as sampler:
            file = _perform(
                plan,
                score,
                sampler,
                as_stems=brief.format == "stems",
                checkpoint=lambda share: tell("Rendering…", 0.1 + 0.9 * share),
            )
        return Take(file, decode_s=0.0, remarks=remarks, ring_s=plan.ring_s if brief.place else None)

    @contextlib.contextmanager
    def _turn_by(self, deadline: Deadline, report: Report) -> Iterator[Sampler]:
        """Wait until no other piece is rendered, and hold the one sampler meanwhile."""
        from app.engines.composer.render.sampler import Sampler

        if not self._turn.acquire(blocking=False):
            report(Progress("Waiting for the pieces before this one…"))
            if not any(self._turn.acquire(timeout=wait_s) for wait_s in deadline.waits_s()):
                raise deadline.error("The composer is still busy with other pieces.")
        try:
            self._sampler = self._sampler or Sampler()
            yield self._sampler
        finally:
            self._turn.release()


def _write_down(score: Score) -> Document:
    from app.engines.composer.midi import to_midi

    return Document(to_midi(score), "mid", score.duration_s)


def _perform(
    plan: Plan, score: Score, sampler: Sampler, *, as_stems: bool, checkpoint: Callable[[float], None]
) -> Audio | Document:
    """Return the sound of the piece, or of each player.

    Args:
        plan: What the score was made from.
        score: The notes.
        sampler: The instruments.
        as_stems: Whether each player is wanted alone.
        checkpoint: Told the share that is done, 0 to 1; raises when there is no time left.
    """
    from app.engines.composer.render import CHANNELS, RATE_HZ, render, render_stems

    if as_stems:
        from app.engines.composer.stems import zip_stems

        stems = render_stems(plan, score, sampler, checkpoint=checkpoint)
        return Document(zip_stems(stems, rate_hz=RATE_HZ, channels=CHANNELS), "stems", score.duration_s)
    pcm = render(plan, score, sampler, checkpoint=checkpoint)
    return encode_pcm16(pcm, rate_hz=RATE_HZ, channels=CHANNELS)
