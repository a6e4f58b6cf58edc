"""What a job is, and the sentences in which it speaks to people. Pure: no SQL, no clock, no engine."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from app.engines.engine import Brief, Format
from app.jobs.song import SongRequest

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
"""`queued` → `running` → one of the other three, which never change again."""

FINAL: Final[frozenset[Status]] = frozenset({"succeeded", "failed", "cancelled"})

COMPOSING: Final = "Composing…"
WAITING_FOR_ENGINE: Final = "The music engine is not available, waiting for it…"
WAITING_FOR_SECTIONS: Final = "Waiting for the first section to begin"
WAITING_FOR_TURN: Final = "Waiting for its turn in the song"
SUCCEEDED: Final = "The piece is ready."
SONG_SUCCEEDED: Final = "The song is ready."
CROWDED_OUT: Final = "The piece was deleted early, to make room for newer ones."
FAILED: Final = "The music service is having trouble. Please try again later."
CANCELLING: Final = "Cancelling…"
CANCELLED: Final = "The job was cancelled."


def waiting(ahead: int) -> str:
    """Return what a queued job says while `ahead` others are before it."""
    return f"Waiting for a free slot, {ahead} ahead" if ahead else "Waiting for a free slot"


def retrying(attempt: int, max_attempts: int) -> str:
    """Return what a job says while attempt number `attempt` is prepared."""
    return f"The music engine had a problem, retrying… ({attempt}/{max_attempts})"


def taking_over(engine: str) -> str:
    """Return what a job says while `engine` takes over from the one that could not make its piece."""
    who = "the built-in composer" if engine == "composer" else "another one"
    return f"The music engine is not available, {who} takes over…"


def new_id() -> str:
    """Return a fresh id: 128 random bits, because whoever knows a job's id may read the job."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What was asked for.

    Attributes:
        brief: The piece; its seed is decided when the job is submitted.
        username: A label for the file's name, or None.
    """

    brief: Brief
    username: str | None = None

    @property
    def name(self) -> str:
        """What the piece is called where it needs a name."""
        return self.brief.prompt

    @property
    def format(self) -> Format:
        return self.brief.format

    def to_json(self) -> dict[str, object]:
        """Return the request in the words of the API."""
        brief = self.brief
        return {
            "prompt": brief.prompt,
            "duration": brief.duration_s,
            "mood": brief.mood,
            "tempo": brief.tempo_bpm,
            "instruments": list(brief.instruments),
            "seed": brief.seed,
            "format": brief.format,
            "username": self.username,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the request that `to_json` wrote."""
        return cls(
            Brief(
                prompt=value["prompt"],
                duration_s=value["duration"],
                seed=value["seed"],
                mood=value["mood"],
                tempo_bpm=value["tempo"],
                instruments=tuple(value["instruments"]),
                format=value["format"],
            ),
            username=value["username"],
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What a succeeded job made.

    Attributes:
        file: Name of the file in the store.
        sha256: Digest of the file, 64 hex digits.
        size_bytes: Length of the file.
        media_type: What the file is served as.
        duration_s: Length of the piece in seconds.
        seed: The seed it was made with.
        remarks: Sentences for people about what could not be done as asked.
        engine: Name of the engine that made it when it was not the first one, else None.
        fallback_reason: Code of the first engine's error in that case.
        ring_s: Of a section, how many seconds at its end are meant to sound into the next one; None when it was made
            without knowing its place.
    """

    file: str
    sha256: str
    size_bytes: int
    media_type: str
    duration_s: float
    seed: int
    remarks: tuple[str, ...] = ()
    engine: str | None = None
    fallback_reason: str | None = None
    ring_s: float | None = None

    def to_json(self) -> dict[str, object]:
        # Without what there is nothing to tell of: a release that does not know these fields cannot read a result
        # that has them, and may run beside this one for a while.
        told = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return {**told, "remarks": list(self.remarks)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the result that `to_json` wrote, in this release, an earlier one or, as far as known, a later one."""
        known = {field.name: value[field.name] for field in dataclasses.fields(cls) if field.name in value}
        return cls(**{**known, "remarks": tuple(value["remarks"])})


@dataclass(frozen=True, slots=True)
class Change:
    """What a job looked like after one visible change.

    Attributes:
        number: 1 for the submission, then counting up; the id of a Server-Sent Event.
        at_s: When, in Unix seconds.
    """

    number: int
    at_s: float
    status: Status
    message: str
    progress: float | None
    queue_position: int | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Census:
    """How all jobs stand together.

    Attributes:
        jobs: How many are kept in each state.
        queue_age_s: How long the job has waited that has waited longest, in seconds; 0 when none waits.
        executors: Processes that have lately given a sign of life as those who run jobs; None where they give none,
            which is on SQLite. There the lock tells (`lock`), to who asks.
    """

    jobs: Mapping[Status, int]
    queue_age_s: float
    executors: int | None


@dataclass(frozen=True, slots=True)
class Job:
    """One job, as its row in the database has it. Times are Unix seconds.

    Attributes:
        id: 32 hex digits; also the id of its workflow.
        owner: Name of the API key that submitted it, "" when there are no keys.
        message: A sentence for people about where it stands.
        progress: Share done, 0 to 1, or None when unknown.
        queue_position: While queued, how many jobs are before it here, or None when it is not in the queue yet;
            while running, how many are before it at the upstream, or None when that is unknown.
        attempt: Number of the running or last attempt, 0 before the first.
        max_attempts: How many there may be; one that another engine makes instead comes on top.
        retryable: Whether asking again is sensible.
        engine: Name of the engine that makes the piece, or has made it.
        expires_at_s: When the job and its file are deleted; moved on when it finishes.
        error: The problem object of a failed job.
        ticket: What the upstream calls the work of the running attempt, for going on with it after a crash.
        cancel_requested: Whether somebody wants it cancelled.
        change: Number of the last change.
        request_id: Of the HTTP request that submitted it, so that the log can be followed.
    """

    id: str
    owner: str
    status: Status
    message: str
    progress: float | None
    queue_position: int | None
    attempt: int
    max_attempts: int
    retryable: bool
    engine: str
    request: JobRequest | SongRequest
    created_at_s: float
    started_at_s: float | None
    finished_at_s: float | None
    expires_at_s: float
    error: dict[str, object] | None
    result: Result | None
    ticket: str | None
    cancel_requested: bool
    change: int
    request_id: str

    @classmethod
    def queued(
        cls,
        request: JobRequest | SongRequest,
        *,
        owner: str,
        engine: str,
        max_attempts: int,
        request_id: str,
        now_s: float,
        ttl_s: float,
    ) -> Self:
        """Return a new job that waits for its first attempt."""
        return cls(
            id=new_id(),
            owner=owner,
            status="queued",
            message=waiting(0) if isinstance(request, JobRequest) else WAITING_FOR_SECTIONS,
            progress=None,
            queue_position=None,
            attempt=0,
            max_attempts=max_attempts,
            retryable=True,
            engine=engine,
            request=request,
            created_at_s=now_s,
            started_at_s=None,
            finished_at_s=None,
            expires_at_s=now_s + ttl_s,
            error=None,
            result=None,
            ticket=None,
            cancel_requested=False,
            change=1,
            request_id=request_id,
        )

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def brief(self) -> Brief:
        """The piece to make.

        Raises:
            TypeError: it is a song, whose pieces are jobs of their own.
        """
        if not isinstance(self.request, JobRequest):
            raise TypeError(f"job {self.id} is a song")
        return self.request.brief

    def behind(self, ahead: int) -> Job:
        """Return the queued job in its place behind `ahead` others."""
        return dataclasses.replace(self, message=waiting(ahead), queue_position=ahead)

    def held_back(self) -> Job:
        """Return the queued job as one that comes into the queue when it is its turn in its song."""
        return dataclasses.replace(self, message=WAITING_FOR_TURN, queue_position=None)

    def as_of(self, change: Change) -> Job:
        """Return the job as it was after that change of it; how it ended is not told before it had."""
        ended = change.status in FINAL
        return dataclasses.replace(
            self,
            status=change.status,
            message=change.message,
            progress=change.progress,
            queue_position=change.queue_position,
            attempt=change.attempt,
            retryable=self.retryable if ended else True,
            started_at_s=None if change.status == "queued" else self.started_at_s,
            finished_at_s=self.finished_at_s if ended else None,
            error=self.error if ended else None,
            result=self.result if ended else None,
            change=change.number,
        )
