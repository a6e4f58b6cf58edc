"""Calling a function of a Gradio app.

Routes, best first, each tried when the one before is missing at this server:

1. `POST {api}/queue/join` and `GET {api}/queue/data`, 4.0 and later: the only one that gives
   error texts in every version, the position in the queue, progress and correct file paths.
2. `POST {api}/call/NAME` and `GET {api}/call/NAME/EVENT`, 4.20 and later: the documented one;
   before 6.13 it loses error texts.
3. `POST {api}/run/NAME`, synchronous: all there is without a websocket in 3.x. On later
   versions it is closed for queued functions on Spaces and gives a generator's first value only.

`{api}` is the base URL plus `api_prefix` from `/config` (empty before 5.0). The queue of 3.x is
a websocket, and is not used.

A job of the first two routes has a ticket, with which another process can take it up when this
one was killed. What servers do then: they keep the messages of a job whose stream nobody has
opened yet, and send them all to whoever opens it first. Once that stream breaks, they forget the
session: a waiting job is removed, a running one keeps its place until it ends or is cancelled,
and its result is lost.

Source: observed with Gradio 3.50.2, 4.16.0, 4.44.1, 5.9.1, 5.50.0 and 6.31.0.
"""

from __future__ import annotations

import copy
import itertools
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Final, Literal
from urllib.parse import quote

import msgspec

from app.engines.engine import MAX_TICKET_CHARS, Progress, Report
from app.engines.huggingface.gradio.app import App, Function, number_or_none
from app.engines.huggingface.responses import RemoteFile
from app.engines.huggingface.transport import Answer, Conversation, Event, Incoming, decode_json
from app.engines.huggingface.upstream_errors import error_from_answer, error_from_text, quotable
from app.errors import EngineError, UpstreamBadResponse, UpstreamError
from app.retry import Deadline

CANCEL_TIMEOUT_S: Final = 0.8
"""Telling the upstream that we gave up must fit into the second after the deadline."""

REPLAY_TIMEOUT_S: Final = 3.0
"""A server that still has an unheard job says so at once; from one that has lost it come heartbeats at most."""

MAX_YIELDS: Final = 1_000
"""Most values taken from one generator function, so that an endless one ends."""


class _RouteMissing(Exception):
    """The server does not have this route, or not for this function."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _JobFailed(Exception):
    """The server says that the job is over, without a result: there is nothing left to cancel."""

    def __init__(self, error: EngineError) -> None:
        super().__init__(str(error))
        self.error = error


_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Ticket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a job is found again: route, application, function, and the names that the server knows it by.

    A Space with replicas may give the stream of another one to a new process, which has no cookie
    yet; the job then counts as lost.
    """

    route: Literal["queue", "call"]
    api_url: str
    fn_index: int
    session_hash: _Id
    event_id: _Id

    @classmethod
    def parse(cls, text: str) -> Ticket | None:
        """Return the ticket that `text` holds, or None when it holds none."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return None

    def __str__(self) -> str:
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one function, with `data` as its inputs.

    Attributes:
        conversation: With the app's origin.
        app: The app.
        function: One of its functions.
        data: One value per input, State included.
        deadline: When the call must be over.
        report: Told the job's ticket, and what the server says about queue and progress.
    """

    conversation: Conversation
    app: App
    function: Function
    data: Sequence[object]
    deadline: Deadline
    report: Report

    def run(self, resume: str | None = None) -> list[object]:
        """Return the function's outputs, by the best route that the server has.

        With the ticket `resume` the job that has it is gone on with. When the server has lost it, its
        place is freed and the function called anew. A ticket of another app or function is ignored.

        An output that was set by an earlier value of a generator and not by the last one keeps
        the earlier value: some functions yield the audio first and a closing remark after it.

        Raises:
            EngineError: the function failed, or no route leads to it.
        """
        ticket = Ticket.parse(resume) if resume else None
        if ticket and (ticket.api_url, ticket.fn_index) == (self.app.api_url, self.function.index):
            outputs = self._resumed(ticket)
            if outputs is not None:
                return outputs
        routes: tuple[Callable[[], list[object]], ...] = (self._by_queue, self._by_event, self._synchronously)
        first: Answer | None = None
        for route in routes if self.app.major >= 4 else routes[-1:]:
            try:
                return route()
            except _RouteMissing as missing:
                first = first or missing.answer
        raise error_from_answer(first or Answer(404, {}, b""))

    # ------------------------------------------------------------------ queue/join, queue/data

    def _by_queue(self) -> list[object]:
        session = secrets.token_hex(8)
        body = {"data": self.data, "fn_index": self.function.index, "session_hash": session}
        event_id = self._submit(f"{self.app.api_url}/queue/join", body)
        ticket = self._ticket("queue", session, event_id)
        self._tell(ticket, "Waiting for a free slot.")
        return self._follow(self._queue_url(session), ticket, self._queue_outputs)

    def _queue_url(self, session: str) -> str:
        return f"{self.app.api_url}/queue/data?session_hash={quote(session, safe='')}"

    def _resumed(self, ticket: Ticket) -> list[object] | None:
        """Return the outputs of an earlier call, or None when the server has lost it."""
        if ticket.route != "queue":  # a job of /call that waits is as silent as one that is lost
            self._cancel(ticket)
            return None
        is_known = False

        def read(events: Iterator[Event]) -> list[object]:
            nonlocal is_known
            first = next(events, None)
            is_known = first is not None and _event_id(first) == ticket.event_id
            if first is None or not is_known:
                raise UpstreamBadResponse("The engine has lost the job.")
            return self._queue_outputs(itertools.chain([first], events))

        try:
            return self._follow(self._queue_url(ticket.session_hash), ticket, read, first_within_s=REPLAY_TIMEOUT_S)
        except EngineError:
            if is_known or self.deadline.expired:
                raise
            return None

    def _queue_outputs(self, events: Iterator[Event]) -> list[object]:
        outputs = _Outputs()
        for event in events:
            message = decode_json(event.data)
            if not isinstance(message, dict):
                continue
            kind, output = message.get("msg"), message.get("output")
            output = output if isinstance(output, dict) else {}
            if kind == "process_generating" and message.get("success", True):
                outputs.add(output.get("data"))
            elif kind == "process_completed":
                if not message.get("success", True):
                    title = _text(message.get("title")) or ""
                    raise _JobFailed(error_from_text(_text(output.get("error")), title=title))
                outputs.replace(output.get("data"))
                return outputs.latest
            elif kind == "unexpected_error":
                raise _JobFailed(error_from_text(_text(message.get("message"))))
            elif kind == "queue_full":
                raise _JobFailed(error_from_text("Queue is full."))
            elif progress := _progress(message):
                self.report(progress)
        raise UpstreamBadResponse("The engine's event stream ended without a result.", repeat=True)

    # ------------------------------------------------------------------ call

    def _by_event(self) -> list[object]:
        if not self.function.name:
            raise _RouteMissing(Answer(404, {}, b"The function has no name for /call."))
        url = f"{self.app.api_url}/call/{quote(self.function.name, safe='')}"
        event_id = self._submit(url, {"data": self.data})
        ticket = self._ticket("call", event_id, event_id)
        self._tell(ticket, "Composing…")
        return self._follow(f"{url}/{quote(event_id, safe='')}", ticket, _event_outputs)

    # ------------------------------------------------------------------ run

    def _synchronously(self) -> list[object]:
        self.report(Progress("Composing…"))
        # An unnamed function has no address of its own; `predict` takes any number in the body.
        url = f"{self.app.api_url}/run/{quote(self.function.name or 'predict', safe='')}"
        body = {"data": self.data, "fn_index": self.function.index, "session_hash": secrets.token_hex(8)}
        if self.function.is_batched:  # the queue makes batches of single calls, this route wants one
            body |= {"data": [[value] for value in self.data], "batched": True}
        outputs = _Outputs()
        for _ in range(MAX_YIELDS):
            answer = self.conversation.post(url, body, deadline=self.deadline)
            try:
                value = _accepted(answer)
            except UpstreamError as error:
                error.raised_by_model = answer.status == 500 and answer.media_type == "application/json"
                raise
            outputs.replace(value.get("data"))
            # A generator in 3.x gives one value per request of the same session; its last request says so.
            if value.get("is_generating") is not True or self.app.major >= 4:
                return _unbatched(outputs.latest) if self.function.is_batched else outputs.latest
        raise UpstreamBadResponse("The function never stops giving values.")

    # ------------------------------------------------------------------ both kinds of events

    def _submit(self, url: str, body: object) -> str:
        """Hand the job in and return its id."""
        event_id = _accepted(self.conversation.post(url, body, deadline=self.deadline)).get("event_id")
        if not isinstance(event_id, str) or not 0 < len(event_id) <= 200:
            raise UpstreamBadResponse("The engine took the job without giving it a number.")
        return event_id

    def _ticket(self, route: Literal["queue", "call"], session: str, event_id: str) -> Ticket:
        return Ticket(route, self.app.api_url, self.function.index, session, event_id)

    def _tell(self, ticket: Ticket, message: str) -> None:
        text = str(ticket)
        self.report(Progress(message, ticket=text if len(text) <= MAX_TICKET_CHARS else None))

    def _follow(
        self,
        url: str,
        ticket: Ticket,
        read: Callable[[Iterator[Event]], list[object]],
        *,
        first_within_s: float | None = None,
    ) -> list[object]:
        try:
            with self.conversation.open("GET", url, deadline=self.deadline) as incoming:
                return read(_events(incoming, first_within_s))
        except _JobFailed as failed:
            failed.error.raised_by_model = isinstance(failed.error, UpstreamError)
            raise failed.error from None
        except EngineError:
            self._cancel(ticket)
            raise

    def _cancel(self, ticket: Ticket) -> None:
        """Tell the server that nobody waits: closing the stream alone leaves a running function its slot."""
        body = {"event_id": ticket.event_id, "session_hash": ticket.session_hash, "fn_index": ticket.fn_index}
        with suppress(EngineError):
            self.conversation.post(f"{self.app.api_url}/cancel", body, deadline=Deadline.after(CANCEL_TIMEOUT_S))


def _unbatched(outputs: list[object]) -> list[object]:
    return [value[0] if isinstance(value, list) and value else value for value in outputs]


def _accepted(answer: Answer) -> Mapping[str, object]:
    """Return the JSON object of a good answer."""
    if answer.status in (404, 405):
        raise _RouteMissing(answer)
    if not answer.ok:
        raise error_from_answer(answer)
    value = answer.json()
    if not isinstance(value, dict):
        raise UpstreamBadResponse("The engine's answer is not an object.", log_text=str(value)[:200])
    return value


def _events(incoming: Incoming, first_within_s: float | None) -> Iterator[Event]:
    if incoming.status != 200:
        raise error_from_answer(incoming.read())
    if "text/event-stream" not in incoming.headers.get("Content-Type", ""):
        raise UpstreamBadResponse("The engine sends no event stream.")
    return incoming.events(first_within_s=first_within_s)


def _event_id(event: Event) -> object:
    message = decode_json(event.data)
    return message.get("event_id") if isinstance(message, dict) else None


def _event_outputs(events: Iterator[Event]) -> list[object]:
    outputs = _Outputs()
    for event in events:
        if event.name == "generating":
            outputs.replace(decode_json(event.data))
        elif event.name == "complete":
            value = decode_json(event.data)
            if value is None:
                raise _JobFailed(UpstreamError("The engine cancelled the job."))
            outputs.replace(value)
            return outputs.latest
        elif event.name == "error":
            value = decode_json(event.data)
            detail = value if isinstance(value, dict) else {"error": value}
            raise _JobFailed(error_from_text(_text(detail.get("error")), title=_text(detail.get("title")) or ""))
    raise UpstreamBadResponse("The engine's event stream ended without a result.", repeat=True)


class _Outputs:
    """The outputs of a function so far; later values replace earlier ones, except by nothing."""

    def __init__(self) -> None:
        self._shown: list[object] | None = None
        self.latest: list[object] = []

    def add(self, data: object) -> None:
        """Take a generator's next value: whole at first, then as differences (4.20 and later)."""
        shown = self._shown
        if shown and isinstance(data, list) and len(data) == len(shown) and all(map(_is_difference, data)):
            data = [_patched(old, difference) for old, difference in zip(shown, data, strict=True)]
        self.replace(data)

    def replace(self, data: object) -> None:
        """Take a whole value."""
        if not isinstance(data, list):
            raise UpstreamBadResponse("The function's outputs are not a list.", log_text=str(data)[:200])
        earlier = [*self.latest, *[None] * (len(data) - len(self.latest))]
        self.latest = [old if _is_nothing(new) else new for new, old in zip(data, earlier, strict=False)]
        self._shown = data


def _is_nothing(value: object) -> bool:
    return value is None or (isinstance(value, dict) and value.get("__type__") == "update" and "value" not in value)


_PATCH_ACTIONS: Final = ("replace", "append", "add", "delete")


def _is_difference(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(step, list) and len(step) == 3 and step[0] in _PATCH_ACTIONS and isinstance(step[1], list)
        for step in value
    )


def _patched(value: object, difference: object) -> object:
    """Return `value` after steps such as `["replace", ["path"], "…"]`; nonsense changes nothing."""
    try:
        holder: dict[str, object] = {"root": copy.deepcopy(value)}
    except RecursionError:
        return value
    for action, path, change in difference if isinstance(difference, list) else ():
        target: object = holder
        keys: list[object] = ["root", *path]
        try:
            for key in keys[:-1]:
                target = target[key]  # type: ignore[index]
            last = keys[-1]
            if action == "append":
                target[last] = target[last] + change  # type: ignore[index]
            elif action == "delete":
                del target[last]  # type: ignore[attr-defined]
            elif action == "add" and isinstance(target, list) and isinstance(last, int):
                target.insert(last, change)
            else:
                target[last] = change  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            continue
    return holder.get("root")


def _progress(message: Mapping[str, object]) -> Progress | None:
    """Return what one message of the queue says about where the job stands."""
    kind = message.get("msg")
    if kind == "estimation":
        rank = message.get("rank")
        ahead = rank if isinstance(rank, int) else None
        sentence = f"Waiting for a free slot, {ahead} ahead." if ahead else "Waiting for a free slot."
        return Progress(sentence, queue_position=ahead, eta_s=number_or_none(message.get("rank_eta")))
    if kind == "process_starts":
        return Progress("Composing…", eta_s=number_or_none(message.get("eta")))
    if kind == "log":
        return Progress(quotable(_text(message.get("log")) or "") or "Composing…")
    steps = message.get("progress_data")
    if kind == "progress" and isinstance(steps, list) and steps and isinstance(steps[-1], dict):
        return _step_progress(steps[-1])
    return None


def _step_progress(step: Mapping[str, object]) -> Progress:
    fraction, index, length = (number_or_none(step.get(key)) for key in ("progress", "index", "length"))
    if fraction is None and index is not None and length:
        fraction = index / length
    sentence = quotable(_text(step.get("desc")) or "") or "Composing…"
    return Progress(sentence, fraction=None if fraction is None else min(max(fraction, 0.0), 1.0))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def file_url(api_url: str, file: RemoteFile) -> str:
    """Return where a file of the app is to be fetched.

    The server's own `url` is not used: it is built from headers of the request and wrong in
    several versions. Streams of 5 and later are playlists; the whole stream lies beside them.
    """
    if file.path.lower().startswith(("http://", "https://")):
        return file.path
    if ".." in file.path.split("/"):  # resolved on its way, it would lead to another route
        raise UpstreamBadResponse("The audio file's path leads out of its folder.", log_text=file.path)
    path = quote(file.path, safe="/")
    if file.is_stream:
        if path.endswith("/playlist.m3u8"):
            path = path.removesuffix("playlist.m3u8") + "playlist-file"
        return f"{api_url}/stream/{path.lstrip('/')}"
    return f"{api_url}/file={path}"
