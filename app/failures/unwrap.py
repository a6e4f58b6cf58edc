"""What structured text says: the messages within JSON, logfmt and HTML, as lines of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from app.failures.compiled import compiled

_MESSAGES: Final = frozenset((
    "error", "err", "message", "msg", "detail", "details", "log", "exc_info", "exception", "stack", "stack_trace",
    "traceback", "reason", "stderr", "cause", "description", "title", "text", "body", "output",
))  # fmt: skip
_LEVELS: Final = ("level", "levelname", "severity")
_QUIET: Final = frozenset(("info", "debug", "trace", "warn", "warning"))
_MOST_MESSAGES: Final = 20
_DEPTH: Final = 3
_LOGFMT: Final = r"\b(?:msg|message|err|error)=\"((?:[^\"\\]|\\.){1,600})\""
_LOGFMT_LEVEL: Final = r"\b(?:level|lvl)=(\w{1,12})"
_BREAKING_TAGS: Final = r"(?i)</?(?:br|p|li|ul|title|h\d|div|tr|td|pre|center|body|head|html) ?/?>"
_UNREAD_TAGS: Final = ("style", "script")


def unwrapped(text: str) -> str:
    """Return the text with the messages of its structured lines after them, one a line."""
    if "</" in text or "<br" in text:
        text = _without_tags(text)
    found = list(_of_json(text)) if "\n" in text else []
    if found:
        return "\n".join([text, *found])
    return "\n".join(each for line in text.split("\n") for each in _with_messages(line))


def _with_messages(line: str) -> Iterator[str]:
    bare = line.strip()
    found = list(_of_json(bare))
    if not found and '="' in bare:
        level = compiled(_LOGFMT_LEVEL).search(bare)
        found = [_told(message, level and level[1]) for message in compiled(_LOGFMT).findall(bare)]
    if not (found and bare.startswith('{"log":')):  # The form in which Docker writes every line of a container.
        yield line
    yield from found[:_MOST_MESSAGES]


def _of_json(text: str) -> Iterator[str]:
    if text[:1] not in ("{", "[", '"'):
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(value, str):
        yield value
    else:
        yield from _messages(value, None, _DEPTH)


def _messages(value: object, level: object, depth: int) -> Iterator[str]:
    if isinstance(value, list) and depth:
        for each in value[:_MOST_MESSAGES]:
            yield from _messages(each, level, depth - 1)
    elif isinstance(value, Mapping) and depth:
        level = next((value[key] for key in _LEVELS if key in value), level)
        for key, inner in value.items():
            if isinstance(inner, str) and key.lower() in _MESSAGES:
                yield _told(inner, level)
            else:
                yield from _messages(inner, level, depth - 1)


def _told(message: str, level: object) -> str:
    """Return the message with its level where that makes it say less."""
    if isinstance(level, str) and level.lower() in _QUIET:
        return "\n".join(f"{level}: {line}" for line in message.split("\n"))
    return message


def _without_tags(text: str) -> str:
    for name in _UNREAD_TAGS:
        first, *others = text.split(f"<{name}")
        for other in others:
            _, closed, after = other.partition(f"</{name}>")
            first += after if closed else f"<{name}{other}"
        text = first
    return compiled(_BREAKING_TAGS).sub("\n", text)
