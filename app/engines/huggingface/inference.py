"""Servers that have an address but no signature: Inference Endpoints, the router, plain servers.

They take a JSON body, and nothing says which. So there is a list of bodies (`BODIES`); when a
server finds fault with the form of one, the next is tried, and what worked is remembered.

Source: huggingface-inference-toolkit 0.5.6 (an unknown parameter is a 400, and the length is
named differently by the default pipeline and by the handler of
huggingface.co/blog/run-musicgen-as-an-api), api-inference-community 0.0.37.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.engines.engine import Brief, Progress, Report
from app.engines.huggingface.mapping import describe, fill, values_of
from app.engines.huggingface.target import Target
from app.engines.huggingface.transport import Answer, Conversation
from app.engines.huggingface.upstream_errors import error_from_answer
from app.errors import EngineError, UpstreamRejected
from app.retry import Deadline
from app.settings import JsonInputs


def _data(text: str, brief: Brief) -> object:
    return {"data": [text, values_of(brief)["duration"]]}


def _pipeline(text: str, brief: Brief) -> object:
    return {"inputs": text, "parameters": {"generate_kwargs": {"max_new_tokens": values_of(brief)["tokens"]}}}


def _handler(text: str, brief: Brief) -> object:
    return {"inputs": text, "parameters": {"max_new_tokens": values_of(brief)["tokens"]}}


def _inputs_only(text: str, brief: Brief) -> object:  # noqa: ARG001 - one signature for all bodies
    return {"inputs": text}


BODIES: Final[tuple[Callable[[str, Brief], object], ...]] = (_data, _pipeline, _handler, _inputs_only)


@dataclass
class ModelServer:
    """A server that is posted to at the given URL.

    Attributes:
        target: Where; Inference hosts are spared the body that only Gradio-like servers take.
        explicit: `HF_INPUTS`: an object is the whole body, a list is `data`.
    """

    target: Target
    explicit: JsonInputs | None

    def __post_init__(self) -> None:
        self._first = 1 if self.target.is_inference else 0
        """Index of the body to begin with. Written by any thread: the worst is one request too many."""

    def call(self, conversation: Conversation, brief: Brief, *, deadline: Deadline, report: Report) -> Answer:
        """Return the successful answer to the first body that the server takes.

        Raises:
            EngineError: it takes none, or failed.
        """
        report(Progress("Composing…"))
        if self.explicit is not None:
            answer = conversation.post(self.target.url, self.body(brief), deadline=deadline)
            if answer.ok:
                return answer
            raise error_from_answer(answer)
        first_error: EngineError | None = None
        for index in range(self._first, len(BODIES)):
            body = BODIES[index](describe(brief), brief)
            answer = conversation.post(self.target.url, body, deadline=deadline)
            if answer.ok:
                self._first = index
                return answer
            error = error_from_answer(answer)
            first_error = first_error or error
            wants_inputs = b"inputs" in answer.body or index > 0
            if answer.status not in (400, 422) or not isinstance(error, UpstreamRejected) or not wants_inputs:
                raise error
        raise first_error or UpstreamRejected("The server takes none of the known request bodies.")

    def body(self, brief: Brief) -> object:
        """Return what would be sent first."""
        if self.explicit is None:
            return BODIES[self._first](describe(brief), brief)
        filled = fill(self.explicit, brief)
        return {"data": filled} if isinstance(filled, list) else filled
