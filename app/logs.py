"""Logs: one JSON object per line on stdout, from our own loggers and from everybody else's.

Our modules say `structlog.get_logger(__name__).info("event name", field=…)`; libraries use
the standard library's loggers. Both end in one handler, whose last step before the JSON is
to blot out secrets, so that no caller has to think of it. What is bound to structlog's
context variables (the request id) stands on each line of a request.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.settings import Settings

_BLOT: Final = "***"
_TOKENS: Final = r"hf_[A-Za-z0-9]{8,}|\b[Bb][Ee][Aa][Rr][Ee][Rr]\s+[^\s\"',;]+"


class Scrubber:
    """Replaces secrets in text by `***`: the given ones, and whatever looks like a token."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: a secret that begins with another one must go as a whole.
        known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._pattern = re.compile("|".join([*map(re.escape, known), _TOKENS]))

    def __call__(self, text: str) -> str:
        return self._pattern.sub(_BLOT, text)

    def inside(self, value: object) -> object:
        """Return the value with every text in it scrubbed, however deep, as JSON can hold it."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {self(str(key)): self.inside(each) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.inside(each) for each in value]
        return self(repr(value))


def _scrubbing(scrub: Scrubber) -> Processor:
    """Return the step that scrubs the values of a line; the names of its fields are ours."""

    def scrub_values(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        return {field: scrub.inside(value) for field, value in line.items()}

    return scrub_values


def _name_the_traceback(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    if "exception" in line:
        line["traceback"] = line.pop("exception")
    return line


class _Stdout(logging.Handler):
    """Writes each record in one piece to whatever `sys.stdout` is at that time."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a line that fails must not fail the work, nor be shown as it is
            line = json.dumps({"event": "a log line could not be written", "level": "error", "logger": record.name})
        with suppress(OSError, ValueError):  # stdout is closed: nobody listens
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def configure(settings: Settings) -> None:
    """Send the logs of this process to stdout as JSON; may be called again, with other settings."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = _Stdout()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                _name_the_traceback,
                _scrubbing(Scrubber(settings.secrets)),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Stdout)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    # At DEBUG this one writes the URLs it opens, which may carry what must stay private.
    logging.getLogger("urllib3").setLevel(max(logging.INFO, root.level))
