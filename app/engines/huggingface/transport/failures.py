"""What requests, urllib3, http.client and the socket raise, as errors of our catalogue."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests
import urllib3

from app.engines.huggingface.transport.sockets import Limits
from app.errors import (
    EngineError,
    UpstreamBadResponse,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.retry import Deadline


@contextmanager
def translated(limits: Limits, *, reading_body: bool = False) -> Iterator[None]:
    """Turn whatever the libraries below raise into an error of the catalogue."""
    try:
        yield
    except EngineError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        raise translate(error, limits.deadline, reading_body=reading_body) from error


def translate(error: BaseException, deadline: Deadline | None, *, reading_body: bool = False) -> EngineError:
    """Return our error for one of requests, urllib3, http.client or the socket.

    The libraries wrap each other and the same cause comes out in different classes (a read
    timeout in mid-body is a `ConnectionError` of requests), so the whole chain is looked at.
    """
    if deadline is not None and deadline.expired:
        return deadline.error("The engine gave no complete answer in time.", log_text=repr(error))
    chain = tuple(causes(error))
    if reading_body and any(isinstance(each, ConnectionError) for each in chain):
        return UpstreamBadResponse(_CUT_OFF, repeat=True, log_text=repr(error))
    for classes, row, detail, repeat in _TRANSLATIONS:
        if any(isinstance(each, classes) for each in chain):
            return row(detail, repeat=repeat, log_text=repr(error))
    return UpstreamUnavailable("The connection to the engine failed.", log_text=repr(error))


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it wraps, in arguments, `reason`, `__cause__` or `__context__`."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < 20:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        wrapped = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
        waiting.extend(inner for inner in wrapped if isinstance(inner, BaseException))


_CUT_OFF: Final = "The answer was cut off."

# The order matters: to urllib3 an unknown name is a refused connection and that a connect
# timeout, to requests a connect timeout is a connection error too, and a dropped connection is
# both a bad status line and a reset.
# The last column overrides whether another attempt is worthwhile.
_TRANSLATIONS: Final[tuple[tuple[tuple[type[BaseException], ...], type[EngineError], str, bool | None], ...]] = (
    (
        (urllib3.exceptions.NameResolutionError, socket.gaierror),
        *(UpstreamUnavailable, "The engine's host name is not known.", None),
    ),
    (
        (urllib3.exceptions.NewConnectionError,),
        *(UpstreamUnavailable, "The engine's host refuses connections.", None),
    ),
    (
        (urllib3.exceptions.ConnectTimeoutError, requests.ConnectTimeout),
        *(UpstreamUnavailable, "The engine's host cannot be reached in time.", None),
    ),
    (
        (ssl.SSLCertVerificationError,),
        *(UpstreamUnavailable, "The engine's TLS certificate is not valid.", False),
    ),
    (
        (urllib3.exceptions.ReadTimeoutError, requests.Timeout, TimeoutError),
        *(UpstreamTimeout, "The engine fell silent.", None),
    ),
    (
        (urllib3.exceptions.DecodeError, requests.exceptions.ContentDecodingError),
        *(UpstreamBadResponse, "The answer's compression is damaged.", None),
    ),
    (
        (urllib3.exceptions.IncompleteRead, http.client.IncompleteRead, requests.exceptions.ChunkedEncodingError),
        *(UpstreamBadResponse, _CUT_OFF, True),
    ),
    (
        (http.client.RemoteDisconnected,),
        *(UpstreamUnavailable, "The engine closed the connection without an answer.", None),
    ),
    (
        (urllib3.exceptions.InvalidHeader, http.client.HTTPException),
        *(UpstreamBadResponse, "The answer is not HTTP.", None),
    ),
    (
        (ConnectionError,),
        *(UpstreamUnavailable, "The connection to the engine broke.", None),
    ),
    (
        (ValueError, urllib3.exceptions.LocationValueError),  # InvalidURL, InvalidHeader, MissingSchema, …
        *(UpstreamRejected, "The upstream's address cannot be used.", None),
    ),
)
