"""Logs: one JSON object per line on stdout, from our own loggers and from everybody else's.

Our modules say `structlog.get_logger(__name__).info("event name", field=…)`; libraries use
the standard library's loggers. Both end in one handler, whose last step before the JSON is
to blot out secrets, so that no caller has to think of it. What is bound to structlog's
context variables (the request id, the trace) stands on each line of a request.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, cast
from urllib.parse import urlsplit

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.settings import Settings

_BLOT: Final = "***"
_VALUE: Final = r"[^\s\"',;]+"
_TOKENS: Final = "|".join(
    (
        # Of both cases and digits, as they are drawn, or very long; names like hf_attempts and hf_transfer are neither.
        r"hf_(?:(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{8,}|[a-z]{16,})",
        rf"\b(?i:bearer)\s+{_VALUE}",
        # What stands before a value is kept, so that one sees what was blotted out.
        rf"(?P<name>\b(?i:authorization|x-api-key)[\"']?\s*[:=]\s*[\"']?)(?:(?i:bearer|basic)\s+)?{_VALUE}",
        r"(?<=://)[^\s/]+(?=@)",  # user and password of a URL
    )
)
_FIRST: Final = ("timestamp", "level", "event")
_SECRET_NAMES: Final = frozenset(
    {
        *("authorization", "proxy-authorization", "x-hf-authorization", "cookie", "set-cookie"),
        *("api-key", "api-keys", "x-api-key", "password", "secret", "token", "access-token", "hf-token"),
        *("studio-api-keys", "studio-database-url", "studio-redis-url", "database-url", "redis-url"),
    }
)
"""Whatever has such a name, in a line or in a mapping that is logged, is blotted out. The whole name counts, in small
letters and with hyphens: `hf_token_is_set` is none of them."""


class Scrubber:
    """Replaces secrets in text by `***`: the given ones, and whatever looks like a token."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: a secret that begins with another one must go as a whole.
        known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._pattern = re.compile("|".join([*map(re.escape, known), _TOKENS]))

    def __call__(self, text: str) -> str:
        return self._pattern.sub(lambda found: (found["name"] or "") + _BLOT, text)

    def inside(self, value: object) -> object:
        """Return the value with every text in it scrubbed, however deep, as JSON can hold it."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {
                self(str(key)): _BLOT if _is_secret_name(str(key)) and each is not None else self.inside(each)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.inside(each) for each in value]
        return self(repr(value))


def _is_secret_name(name: str) -> bool:
    return name.lower().replace("_", "-") in _SECRET_NAMES


def _scrubbing(scrub: Scrubber) -> Processor:
    """Return the step that scrubs a line."""

    def scrub_line(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        return cast("EventDict", scrub.inside(line))

    return scrub_line


def _name_the_traceback(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    if "exception" in line:
        line["traceback"] = line.pop("exception")
    return line


def _in_order(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Return the line with what a reader looks for first."""
    return {**{field: line[field] for field in _FIRST if field in line}, **line}


def _readable(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    """Return the line for a person at a terminal: the time (UTC), how bad it is, what happened, and all the rest."""
    traceback = line.pop("traceback", "")
    time, level, event = (str(line.pop(field, "")) for field in _FIRST)
    line.pop("logger", None)
    rest = [f"{field}={json.dumps(value)}" for field, value in line.items() if value is not None]
    first = " ".join([time[11:19], level.upper().ljust(7), _harmless(event), *rest])
    return "\n".join([first, *map(_harmless, str(traceback).splitlines())])


def _harmless(text: str) -> str:
    """Return the text without control characters, which a terminal would obey."""
    return json.dumps(text)[1:-1].replace('\\"', '"')


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
    """Send the logs of this process to stdout; may be called again, with other settings."""
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
                _in_order,
                _readable if settings.log_format == "text" else structlog.processors.JSONRenderer(),
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


# ---------------------------------------------------------------------- at the start

_LIMITS: Final = (
    *("max_active", "deadline_s", "max_audio_bytes", "max_streams", "rate_limit", "read_limit"),
    *("request_timeout_s", "send_timeout_s", "breaker_failures", "breaker_open_s"),
    *("max_queued", "job_workers", "job_global_limit", "job_attempts", "job_timeout_s", "job_deadline_s", "job_ttl_s"),
    *("store_max_bytes", "hf_attempts", "hf_timeout_s"),
)


_DOUBTS: Final[tuple[tuple[Callable[[Settings], bool], str], ...]] = (
    (
        lambda ours: ours.engine == "huggingface" and not ours.hf_api_url,
        "HF_API_URL is not set: every generation is answered with engine-not-configured.",
    ),
    (
        lambda ours: _is_in_the_clear(ours.hf_api_url or "", "http"),
        "HF_API_URL is http: prompts and music travel in the clear.",
    ),
    (
        lambda ours: ours.engine == "huggingface" and ours.deadline_s < ours.hf_timeout_s,
        "STUDIO_DEADLINE_S is shorter than HF_TIMEOUT_S: no attempt ever gets that long.",
    ),
    (
        lambda ours: ours.redis_url is not None and _is_in_the_clear(ours.redis_url.get_secret_value(), "redis"),
        "STUDIO_REDIS_URL is redis: what it carries, a password too, travels in the clear; rediss encrypts.",
    ),
    (
        lambda ours: ours.is_exposed and ours.rate_limit is None,
        "STUDIO_RATE_LIMIT is not set: one caller can take all places.",
    ),
    (
        lambda ours: bool(ours.is_exposed and ours.rate_limit and not ours.api_keys and not ours.trusted_proxies),
        "STUDIO_TRUSTED_PROXIES is 0, and STUDIO_RATE_LIMIT counts by address: behind a proxy all callers are one.",
    ),
    (
        lambda ours: ours.cors_origins == "*" and not ours.api_keys,
        "STUDIO_CORS_ORIGINS is *, and there are no keys: any page can have its visitors call.",
    ),
)
"""What can be meant, but more often is not. That there are no keys is told by whoever asks for them."""


def announce(settings: Settings, *, version: str) -> None:
    """Write what is starting and which limits hold, and a warning for each setting that looks like a mistake."""
    log = structlog.get_logger(__name__)
    log.info(
        "starting",
        version=version,
        engine=settings.engine,
        fallback=settings.fallback_engines,
        executor="embedded" if settings.runs_jobs else "none",
        database="postgres" if settings.database_url else "sqlite",
        store=settings.store_url.partition(":")[0] if settings.store_url else "folder",
        shares_state=settings.redis_url is not None,
        callers=len({name for name, _ in settings.api_key_digests}),
        limits={Settings.model_fields[name].alias: getattr(settings, name) for name in _LIMITS},
    )
    for is_doubtful, sentence in _DOUBTS:
        if is_doubtful(settings):
            log.warning("doubtful setting", detail=sentence)


def _is_in_the_clear(url: str, scheme: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == scheme and parts.hostname not in ("localhost", "127.0.0.1", "::1")
