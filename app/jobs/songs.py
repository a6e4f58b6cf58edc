"""The end of a song: its sections, whose jobs are over, joined into one track, as a workflow of DBOS.

The sections themselves are jobs like any other (`workflow`). When the last of them is over, the song comes into their
queue, before whatever else waits there (`sections`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import structlog
from dbos import DBOS

from app.audio import prove
from app.errors import Cancelled, InternalError, ResultLost, StudioError
from app.jobs.job import Job, Result
from app.jobs.records import Records
from app.jobs.song import SongRequest, incomplete
from app.jobs.workflow import MAX_DISPATCHES, SONG_WORKFLOW, Outcome, Pieces, failure, never_failing
from app.retry import Deadline
from app.store import FileCorrupt, FileGone, FileStore
from app.studio import Piece

if TYPE_CHECKING:
    from app.mixdown import Part

_log = structlog.get_logger(__name__)

_PATIENCE_S: Final = 300.0
"""How long a store may be away that has the sections."""

_MOST_REMARKS: Final = 20
"""Told of a song: those of its sections, each once."""


class Songs:
    """Joins songs. One object serves all threads."""

    def __init__(self, records: Records, store: FileStore, pieces: Pieces, *, scrub: Callable[[str], str]) -> None:
        """
        Args:
            records: Where jobs stand.
            store: Has the files of the sections, and gets those of the songs.
            pieces: Stores what is made, and writes down how jobs end.
            scrub: Takes out of an error's words what must not be told.
        """
        self._records = records
        self._store = store
        self._pieces = pieces
        self._scrub = scrub
        self._joining = threading.Lock()

    def register(self) -> None:
        """Tell DBOS, which has not been launched yet, about the workflow and its steps."""

        @DBOS.step(name="join")
        def join(song_id: str) -> Outcome:
            return self.join(song_id)

        @DBOS.step(name="finish-song")
        def finish(song_id: str, outcome: Outcome) -> None:
            self._pieces.finish(song_id, outcome)

        @DBOS.workflow(name=SONG_WORKFLOW, max_recovery_attempts=MAX_DISPATCHES)
        def song(song_id: str) -> str:
            with self._pieces.at_work(song_id), never_failing():
                outcome = join(song_id)
                finish(song_id, outcome)
                return outcome["status"]

    def join(self, song_id: str) -> Outcome:
        """Join the sections and store the track, or tell which of them are missing."""
        song = self._pieces.insist(lambda: self._records.get(song_id))
        if song is None or song.is_final or song.cancel_requested or not isinstance(song.request, SongRequest):
            return {"status": "cancelled"}
        with structlog.contextvars.bound_contextvars(request_id=song.request_id, job=song_id):
            jobs = self._pieces.insist(lambda: self._records.sections(song_id))
            try:
                return self._incomplete(song, song.request, jobs) or self._joined(song, song.request, jobs)
            except Cancelled:
                return {"status": "cancelled"}
            except StudioError as error:
                _log.warning("song not joined", error=error.code(), detail=error.detail, upstream_text=error.log_text)
                return self._failed(song, error)
            except Exception as error:  # noqa: BLE001 - a song must end whatever the mistake is, and tell
                _log.exception("unforeseen exception")
                told = InternalError()
                told.__cause__ = error
                return self._failed(song, told)

    def _incomplete(self, song: Job, request: SongRequest, jobs: Mapping[int, Job]) -> Outcome | None:
        """Return how a song ends whose sections are not all there, or None."""
        missing = [number for number in range(1, len(request.sections) + 1) if _is_missing(jobs.get(number))]
        if not missing:
            return None
        message = incomplete([request.sections[number - 1].name for number in missing], of=len(request.sections))
        errors = [(job.retryable, job.error) for number in missing if (job := jobs.get(number)) and job.error]
        if errors:
            # A section's error says what is to be done about it; first of all about one that would fail again.
            retryable, error = min(errors, key=itemgetter(0))
            return {"status": "failed", "error": error, "retryable": retryable, "message": message}
        first = jobs.get(missing[0])
        lost = Cancelled() if first is not None and first.status == "cancelled" else ResultLost()
        return {**self._failed(song, lost), "retryable": True, "message": message}

    def _joined(self, song: Job, request: SongRequest, jobs: Mapping[int, Job]) -> Outcome:
        from app.mixdown import mix_down

        with self._joining:  # one at a time: ten minutes of samples fill a small machine
            track = mix_down(self._parts(song.id, request, jobs), format=request.format)
        _log.info("joined song", sections=len(jobs), seconds=round(track.duration_s, 3), bytes=len(track.content))
        remarks = tuple(dict.fromkeys(_remarks(request, jobs)))[:_MOST_REMARKS]
        piece = Piece(track, song.engine, request.seed, attempts=1, upstream_s=0.0, decode_s=0.0, remarks=remarks)
        return self._pieces.stored(song, piece, threading.Event())

    def _parts(self, song_id: str, request: SongRequest, jobs: Mapping[int, Job]) -> Iterator[Part]:
        """Yield the sections one by one: the samples of all of them together may be too much.

        Raises:
            Cancelled: nobody wants the song any more.
            ResultLost: the file of a section is gone.
        """
        from app.mixdown import Part

        for number, section in enumerate(request.placed(), start=1):
            song = self._pieces.insist(lambda: self._records.get(song_id))
            if song is None or song.is_final or song.cancel_requested:
                raise Cancelled
            result = jobs[number].result
            if result is None:
                raise ResultLost
            yield Part(
                prove(self._pieces.insist(partial(self._read, result), patience=Deadline.after(_PATIENCE_S))),
                start_s=section.start_s,
                duration_s=section.brief.duration_s,
                ring_s=result.ring_s,
                gain_db=section.gain_db,
            )

    def _read(self, result: Result) -> bytes:
        try:
            return b"".join(self._store.chunks(result.file, sha256=result.sha256))
        except (FileGone, FileCorrupt) as error:
            raise ResultLost(log_text=str(error)) from error

    def _failed(self, song: Job, error: StudioError) -> Outcome:
        return failure(error, request_id=song.request_id, scrub=self._scrub)


def _is_missing(job: Job | None) -> bool:
    return job is None or job.result is None


def _remarks(request: SongRequest, jobs: Mapping[int, Job]) -> Iterator[str]:
    """Yield what there is to say about the sections, as they were made and as they were joined."""
    for number, section in enumerate(request.sections, start=1):
        result = jobs[number].result
        if result is None:
            continue
        yield from result.remarks
        wanted_s = section.brief.duration_s
        if result.ring_s is None and result.duration_s < wanted_s:
            yield f"“{section.name}” came {result.duration_s:.1f} s long and is repeated to fill its {wanted_s:g} s."
