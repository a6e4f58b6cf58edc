"""What an engine is: the one interface between the service and whatever makes the music.

To add an engine: a folder or module beside this one with `build(settings)` and its
`ABILITIES`, and one line in `ENGINES` (`app/engines/__init__.py`).
`tests/unit/engines/test_engines_contract.py` then holds it to the demands below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from app.audio import AUDIO_FORMATS, Audio, AudioFormat
from app.retry import Deadline, RetryPolicy

MIN_CLIP_S: Final = 5.0
MAX_CLIP_S: Final = 30.0
"""How long the clip of one request may be; each engine is up to that."""

CROSSFADE_S: Final = 1.0
"""By how much sections of a song overlap that were made without knowing each other."""

DocumentFormat = Literal["mid", "stems"]
Format = Literal[AudioFormat, DocumentFormat]
"""How a piece can be delivered: audio in a container, or a document about it."""

DOCUMENT_MEDIA_TYPES: Final[Mapping[DocumentFormat, str]] = {"mid": "audio/midi", "stems": "application/zip"}


@dataclass(frozen=True, slots=True)
class Document:
    """What an engine knows about a piece beyond its sound, as a file.

    Attributes:
        content: The whole file.
        format: `mid`, a Standard MIDI File of its notes; `stems`, a ZIP of one WAV for each player.
        duration_s: Length of the piece in seconds.
    """

    content: bytes
    format: DocumentFormat
    duration_s: float

    @property
    def media_type(self) -> str:
        return DOCUMENT_MEDIA_TYPES[self.format]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What can be asked of an engine.

    Attributes:
        formats: What it can deliver, audio first; audio is transcoded for it.
        min_duration_s: Shortest piece, in seconds.
        max_duration_s: Longest piece, in seconds.
        styles: Names of the styles it knows; empty when it takes free text alone.
        moods: Names of the moods it knows; empty when it takes free text alone.
        instruments: The family of each instrument it knows, by name; empty when it takes free text alone.
        sections: Whether it makes sections of songs, of any length, that go on with those before.
    """

    formats: tuple[Format, ...] = AUDIO_FORMATS
    min_duration_s: float = MIN_CLIP_S
    max_duration_s: float = MAX_CLIP_S
    styles: tuple[str, ...] = ()
    moods: tuple[str, ...] = ()
    instruments: Mapping[str, str] = field(default_factory=dict)
    sections: bool = False


@dataclass(frozen=True, slots=True)
class SongPlace:
    """Where in a song a piece stands that is one of its sections.

    Attributes:
        before: The sections before it, the first one first; their own `place` is None.
        seed: Of what all sections have in common, however often one of them is made again.
        leads_on: Whether another section follows.
    """

    before: tuple[Brief, ...]
    seed: int
    leads_on: bool


@dataclass(frozen=True, slots=True)
class Brief:
    """What a piece of music should be, and as what file it is wanted.

    Attributes:
        prompt: Free text, 1 to 1,000 characters.
        duration_s: Length in seconds.
        seed: 0 to 4294967295; the same brief and seed ask for the same piece.
        mood: Free text, or None.
        tempo_bpm: Beats per minute, or None.
        instruments: Names as the caller wrote them, possibly none.
        format: How the piece is to be delivered; it says nothing about the music. In place of one container
            of audio an engine may always give another.
        place: Of a section, where in its song it stands, for engines that can go on with what was before.
    """

    prompt: str
    duration_s: float
    seed: int
    mood: str | None = None
    tempo_bpm: int | None = None
    instruments: tuple[str, ...] = ()
    format: Format = "wav"
    place: SongPlace | None = None


MAX_TICKET_CHARS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running generation stands.

    Attributes:
        message: A sentence for people.
        fraction: Share done, 0 to 1, or None when unknown.
        queue_position: Requests ahead of this one at the upstream, or None when not queued.
        eta_s: The upstream's own estimate of the seconds left, or None.
        ticket: What `Engine.generate` takes as `resume`: JSON of at most `MAX_TICKET_CHARS` characters, told
            once the upstream has the job; None when there is nothing new.
    """

    message: str
    fraction: float | None = None
    queue_position: int | None = None
    eta_s: float | None = None
    ticket: str | None = None


Report = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Be the `Report` of a caller who does not ask for progress."""


def keep_nothing() -> None:
    """Be the `Take.let_go` of an engine to which it makes no difference."""


@dataclass(frozen=True, slots=True)
class Take:
    """One successful attempt.

    Attributes:
        file: The piece: audio that is proven to play, or the document that the brief wants.
        decode_s: Seconds of the attempt spent turning the answer into proven audio.
        remarks: Sentences for people about what could not be done as asked.
        ring_s: Of a section, seconds at its end that are meant to sound into the next one; None when it was made
            without knowing its place.
        let_go: To be called when the file has gone out, so that the engine may take in more; it comes to know by
            itself, but later.
    """

    file: Audio | Document
    decode_s: float
    remarks: tuple[str, ...] = ()
    ring_s: float | None = None
    let_go: Callable[[], object] = field(default=keep_nothing, compare=False)


class Engine(Protocol):
    """Something that makes music. It is shared by all threads."""

    @property
    def name(self) -> str:
        """The engine's key in `ENGINES`."""

    @property
    def abilities(self) -> Abilities:
        """What it can be asked for; nobody asks it for anything else."""

    @property
    def policy(self) -> RetryPolicy:
        """How often and for how long this engine should be asked."""

    def generate(self, brief: Brief, *, deadline: Deadline, report: Report = ignore, resume: str | None = None) -> Take:
        """Make one attempt at the piece; repeating it is the caller's business.

        Returns within `deadline` plus one second, whatever happens; once `deadline` is cancelled, within
        two seconds, the upstream's job cancelled as well.

        Args:
            brief: What to make.
            deadline: When to give up.
            report: Told where the work stands.
            resume: `Progress.ticket` of an attempt at the same brief that ended without a word, as when its
                process was killed: go on with the upstream's job, or free its place and start anew. What
                the engine does not understand is ignored.

        Raises:
            Cancelled: `deadline` was cancelled.
            EngineError: any other failure, and nothing else.
        """
