"""The Hugging Face engine: a Space, an Inference Endpoint, the router or any server like them.

`HF_API_URL` names the upstream (`target`); what answers there is found out once, by its
`/config`, and again after failures that suggest that it changed. A Gradio app is called by
its own routes (`gradio`) with our fields mapped onto its parameters (`mapping`); anything
else is posted to (`inference`). Whatever comes back is read by its shape (`responses`),
whatever goes wrong is understood by `upstream_errors`, and every byte passes `transport`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.audio import Audio, prove
from app.engines.engine import Abilities, Brief, Progress, Report, Take, ignore
from app.engines.huggingface.gradio.app import App, Function, read_app
from app.engines.huggingface.gradio.call import Call, file_url
from app.engines.huggingface.inference import ModelServer
from app.engines.huggingface.mapping import arguments, assign
from app.engines.huggingface.responses import RemoteFile, find_audio, find_in_answer
from app.engines.huggingface.target import parse_target
from app.engines.huggingface.transport import Conversation, Transport, origin_of
from app.engines.huggingface.transport.failures import causes
from app.errors import EngineError, UpstreamBadResponse, UpstreamRejected
from app.retry import Clock, Deadline, RetryPolicy
from app.settings import Settings

ABILITIES: Final = Abilities()
"""Free text and audio: what is behind the URL may be any model."""

DETECTION_HOLDS_S: Final = 10.0
"""A failure right after the upstream was looked at is no reason to look again; and for so long what was found holds
though it is in doubt."""

MAX_CANDIDATES: Final = 4
"""How many things in one answer that may be audio are looked at."""

_HIDDEN: Final = "***"


@dataclass(frozen=True, slots=True)
class Probe:
    """What `studio probe` tells: what answers at `HF_API_URL` and how it would be called.

    Attributes:
        kind: `Gradio 5.50.0`, or `server without a signature`.
        url: Where requests go.
        function: The Gradio function, or None.
        functions: All functions of the app, as titles.
        sent: The `data` or body that would be sent.
        mapping: Each of the function's parameters, with the field or default it gets.
    """

    kind: str
    url: str
    function: str | None
    functions: tuple[str, ...]
    mapping: tuple[tuple[str, str], ...]
    sent: object


class HuggingFace:
    """The engine behind `STUDIO_ENGINE=huggingface`; one object serves all threads.

    Args:
        settings: The `HF_…` settings; `hf_api_url` must be set.
        clock: Monotonic seconds.
    """

    name = "huggingface"
    abilities = ABILITIES

    def __init__(self, settings: Settings, *, clock: Clock = time.monotonic) -> None:
        self._target = parse_target(settings.hf_api_url or "", settings.hf_api_name)
        self._explicit = settings.hf_inputs
        self._limit_bytes = settings.max_audio_bytes
        self._token = settings.hf_token.get_secret_value() if settings.hf_token else ""
        self._transport = Transport(
            connect_timeout_s=settings.hf_connect_timeout_s,
            silence_timeout_s=settings.hf_silence_timeout_s,
            limit_bytes=2 * settings.max_audio_bytes,
            connections=settings.max_active,
        )
        self._clock = clock
        self._looking = threading.Lock()
        self._upstream: App | ModelServer | None = None
        self._doubtful: App | ModelServer | None = None
        self._looked_at_s = 0.0
        self.policy = RetryPolicy(settings.hf_attempts, settings.hf_timeout_s, settings.hf_backoff_s)

    def generate(self, brief: Brief, *, deadline: Deadline, report: Report = ignore, resume: str | None = None) -> Take:
        """See `Engine.generate`."""
        conversation = self._conversation()
        try:
            take = self._generate(conversation, brief, deadline, self._without_token(report), resume)
        except EngineError as error:
            conversation.leave_gate()
            self._hide_token(error)
            raise
        return replace(take, let_go=conversation.leave_gate)

    def _generate(
        self, conversation: Conversation, brief: Brief, deadline: Deadline, report: Report, resume: str | None
    ) -> Take:
        upstream = self._look(conversation, deadline)
        try:
            take = self._attempt(conversation, upstream, brief, deadline, report, resume=resume)
        except (UpstreamRejected, UpstreamBadResponse) as error:
            if isinstance(error, UpstreamRejected):
                self._doubtful = None  # a Space that was booting may be up by now
            if upstream is not self._upstream or self._clock() - self._looked_at_s < DETECTION_HOLDS_S:
                raise
            changed = self._look(conversation, deadline, instead_of=upstream)
            if changed == upstream:
                raise  # nothing that another call would do differently
            upstream = changed
            take = self._attempt(conversation, upstream, brief, deadline, report)
        if self._upstream is None and isinstance(upstream, ModelServer):
            self._upstream = upstream
        return take

    def probe(self, brief: Brief, *, deadline: Deadline) -> Probe:
        """Find out what answers at the upstream and how it would be called, without calling it.

        Raises:
            EngineError: as `generate` would.
        """
        try:
            upstream = self._look(self._conversation(), deadline)
            if isinstance(upstream, ModelServer):
                body = upstream.body(brief)
                return Probe("server without a signature", self._target.url, None, (), (), body)
            function = upstream.choose(self._target.function)
            data = arguments(function.parameters, brief, self._explicit)
        except EngineError as error:
            self._hide_token(error)
            raise
        assigned = assign(function.parameters)
        mapping = tuple(
            (
                f"{parameter.label or parameter.name or 'input'} ({parameter.component})",
                assigned.get(position, "default"),
            )
            for position, parameter in enumerate(function.parameters)
        )
        titles = tuple(each.title for each in upstream.functions)
        return Probe(f"Gradio {upstream.version}", upstream.api_url, function.title, titles, mapping, data)

    # ------------------------------------------------------------------ what answers there

    def _conversation(self) -> Conversation:
        headers = {}
        if self._token:
            # A Space's proxy takes X-HF-Authorization away; plain Authorization would reach the Space's own code.
            scheme, host, _ = origin_of(self._target.base_url)
            is_space = scheme == "https" and host.endswith(".hf.space")
            headers["X-HF-Authorization" if is_space else "Authorization"] = f"Bearer {self._token}"
        return self._transport.converse(self._target.base_url, headers)

    def _look(
        self, conversation: Conversation, deadline: Deadline, *, instead_of: App | ModelServer | None = None
    ) -> App | ModelServer:
        """Return what answers at the upstream; looked up once, and again `instead_of` an outdated answer."""
        known = self._upstream
        if known is not None and known is not instead_of:
            return known
        if not any(self._looking.acquire(timeout=wait_s) for wait_s in deadline.waits_s()):
            raise deadline.error("The engine could not be looked at in time.")
        try:
            if self._upstream is not None and self._upstream is not instead_of:
                return self._upstream  # another thread looked while this one waited
            is_fresh = self._clock() - self._looked_at_s < DETECTION_HOLDS_S
            if instead_of is None and self._doubtful is not None and is_fresh:
                return self._doubtful
            if self._target.is_inference:
                self._upstream = ModelServer(self._target, self._explicit)
                return self._upstream
            app = read_app(conversation, self._target.base_url, deadline=deadline)
            self._looked_at_s = self._clock()
            found = app or ModelServer(self._target, self._explicit)
            # A Space that is just booting looks like any server without Gradio: such a verdict is kept only once a
            # call has proved it (see `_generate`). An app that was too busy to describe itself is asked again.
            is_certain = app is not None and app.is_described
            self._upstream, self._doubtful = (found, None) if is_certain else (None, found)
            return found
        finally:
            self._looking.release()

    # ------------------------------------------------------------------ one attempt

    def _attempt(
        self,
        conversation: Conversation,
        upstream: App | ModelServer,
        brief: Brief,
        deadline: Deadline,
        report: Report,
        *,
        resume: str | None = None,
    ) -> Take:
        if isinstance(upstream, ModelServer):
            answer = upstream.call(conversation, brief, deadline=deadline, report=report)
            answered_s = self._clock()
            candidates = find_in_answer(answer, limit_bytes=self._limit_bytes)
            api_url = self._target.base_url
        else:
            function = upstream.choose(self._target.function)
            data = arguments(function.parameters, brief, self._explicit)
            outputs = Call(conversation, upstream, function, data, deadline, report).run(resume)
            answered_s = self._clock()
            candidates = find_audio(_audio_first(outputs, function), limit_bytes=self._limit_bytes)
            api_url = upstream.api_url
        fetching_s = 0.0
        first_error: UpstreamBadResponse | None = None
        for found in itertools.islice(candidates, MAX_CANDIDATES):
            try:
                content = found
                if isinstance(content, RemoteFile):
                    report(Progress("Fetching the audio…", fraction=1.0))
                    started_s = self._clock()
                    content = self._fetch(conversation, file_url(api_url, content), deadline)
                    fetching_s += self._clock() - started_s
                audio = content if isinstance(content, Audio) else self._proven(content)
            except UpstreamBadResponse as error:
                first_error = first_error or error
            else:
                return Take(audio, decode_s=self._clock() - answered_s - fetching_s)
        raise first_error or UpstreamBadResponse("There is no audio in the answer.")

    def _fetch(self, conversation: Conversation, url: str, deadline: Deadline) -> bytes:
        if not conversation.owns(url):
            raise UpstreamBadResponse("The audio lies on another host, from which nothing is fetched.", log_text=url)
        answer = conversation.get(url, deadline=deadline)
        if not answer.ok:
            raise UpstreamBadResponse(
                f"The audio file could not be fetched (status {answer.status}).", repeat=answer.status >= 500
            )
        return answer.body

    def _proven(self, content: bytes) -> Audio:
        if len(content) > self._limit_bytes:
            raise UpstreamBadResponse(f"The audio is larger than {self._limit_bytes} bytes.")
        return prove(content)

    def _without_token(self, report: Report) -> Report:
        if not self._token:
            return report
        return lambda progress: report(replace(progress, message=progress.message.replace(self._token, _HIDDEN)))

    def _hide_token(self, error: EngineError) -> None:
        """Take the token out of whatever the upstream echoed back."""
        if not self._token:
            return
        error.detail = error.detail.replace(self._token, _HIDDEN)
        error.log_text = error.log_text.replace(self._token, _HIDDEN)
        error.args = tuple(str(arg).replace(self._token, _HIDDEN) for arg in error.args)
        # The libraries' exceptions quote what is no HTTP; one that quotes the token is no loss.
        if any(self._token in f"{cause} {cause!r}" for cause in causes(error)):
            error.__cause__ = error.__context__ = None


def _audio_first(outputs: Sequence[object], function: Function) -> list[object]:
    """Return the outputs with those of audio components before the others."""
    kinds = [*function.outputs, *[""] * len(outputs)]
    return [outputs[position] for position in sorted(range(len(outputs)), key=lambda it: kinds[it] != "audio")]


def build(settings: Settings) -> HuggingFace | None:
    """Return the engine, or None when `HF_API_URL` is not set."""
    return HuggingFace(settings) if settings.hf_api_url else None
