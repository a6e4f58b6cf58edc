"""From raw text to a bounded number of plain lines.

What people hand in is anything: coloured terminal output, the escaped string of a JSON log, a box drawn by a
traceback printer, eight ranks saying the same, or a quarter of a megabyte of progress bars.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator
from typing import Final

from app.failures.compiled import compiled
from app.failures.focus import focus
from app.failures.roles import role_of
from app.failures.unwrap import unwrapped

MAX_TEXT_CHARS: Final = 256 * 1024
_MAX_LINES: Final = 400
_MAX_LINE_CHARS: Final = 700
_LINE_OVERLAP_CHARS: Final = 120
_ANSI: Final = (
    r"(?:(?:\x1b|\\u001b|\\x1b|\\033|\\e(?=\[\d)|␛)\[|\x9b)[0-9;:?]{0,24}[A-Za-z]"
    r"|\x1b\][^\x07\x1b\n]{0,300}(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\[\d{1,2}(?:;\d{1,3}){0,4}m"
)
"""Colours, links and titles of terminals, and colours that have lost their escape character on the way."""

_ESCAPED_BREAK: Final = (
    r"(?<!\\)(?<![A-Za-z]:)\\{1,8}[nr](?=[ \\\"'{}<\[(A-Z0-9^\u2500-\u257f]|$)|(?<=[.,:;\"'})\]! ])\\{1,8}n"
)
_CHARACTER_REFERENCE: Final = r"&#?\w{1,31};?"
"""With a bound: `html.unescape` raises ValueError for a number of thousands of digits."""

_TYPOGRAPHY: Final = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u00a0": " ",
        "\u2026": "...",
        "\uff1a": ": ",
        "\uff0c": ", ",
        "\u2010": "-",
        "\u2011": "-",
        **dict.fromkeys("\u202f\u3000", " "),
        **dict.fromkeys("\u2028\u2029\x85", "\n"),
        **dict.fromkeys("\0\xad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff", ""),
    }
)
_SCRIPTS_MEET: Final = r"(?<=[\u2e80-\u9fff\uac00-\ud7af])(?=[A-Za-z0-9_'\"`<\[{])|(?<=[A-Za-z0-9_'\"`>\]}])(?=[\u2e80-\u9fff\uac00-\ud7af])"
_PREFIX: Final = r"""(?x)^(?:\s{0,40}(?:
        [│┃|]\ ?                                             # a traceback drawn in a box
      | \[(?:default)?\d{0,4}(?:,\d{1,4})?\]<?(?:stderr|stdout)>?:?   # mpirun
      | \[(?:rank|default)?\d{1,4}\]:                        # torch's ranks
      | \((?:\w{0,40}\ )?(?:pid|ip)=[^)]{1,60}\)             # ray
      | rank\ ?\d{1,4}:
      | (?![45]\d\d:)\d{1,4}:\s                              # srun -l
      | (?:\d{1,4}\||(?=\w{0,40}[-_\d]))[\w.-]{1,60}\s{1,20}\|\s    # docker compose, pm2
      | \d{4}-\d\d-\d\d[T\ ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|\ ?[+-]\d\d:?\d\d)?\s(?:std(?:out|err)\s[FP]\s)?
      | [A-Z][a-z]{2}\s{1,2}\d{1,2}\s\d\d:\d\d:\d\d\s[\w.-]{1,60}\s[\w./-]{1,60}(?:\[\d{1,8}\])?:\s   # syslog
      | \[pod/[^\]]{1,150}\]\s
      | [a-z]{1,20}\[[\w.]{1,30}\]:\s                        # heroku
      | E\s{2,40}(?=\S)                                      # pytest
      | >{1,3}\s                                             # a quotation
      | \$\s
    )){1,6}"""
_VARYING: Final = r"0x[0-9a-f]{1,16}|\b[0-9a-f]{8,64}\b|(?![45]\d\d\b)\d{1,40}"
"""What makes no new line of a line: counts, times and addresses, and not the status of an answer."""

_MOST_OF_A_SHAPE: Final = 2
_LEAST_WIDTH: Final = 40
_MOST_WIDTH: Final = 200
_FRAMES_OF_TABLES: Final = frozenset("|+-=*_#│┃─━╮╯┐┘")
_BOX: Final = "│┃"
_QUOTED: Final = r"^\s{0,40}([\"'`])((?:(?!\1).){1,600})\1[.,;]?$"
_ESCAPED_LETTER: Final = r"\\{1,2}u(?!001b|[dD][89a-fA-F])([0-9a-fA-F]{4})"
_BOX_END: Final = r"\s{1,200}[│┃]\s{0,4}$"


def plain_lines(text: str) -> list[str]:
    """Return the lines that are worth reading, without colours, prefixes and boxes, each once."""
    lines: list[str] = []
    seen = set[str]()
    shapes = Counter[str]()
    for raw in _plain(unwrapped(_as_shown(focus(shorten(text))))).split("\n"):
        if not raw or raw in seen or raw.isspace():
            continue
        seen.add(raw)
        line = compiled(_PREFIX).sub("", raw)
        if _BOX[0] in line or _BOX[1] in line:
            line = compiled(_BOX_END).sub("", line)
        line = compiled(_QUOTED).sub(r"\2", line)
        key = line.strip()
        if key and (key is line or key not in seen):
            seen.add(key)
            shape = compiled(_VARYING).sub("0", key)
            shapes[shape] += 1
            if shapes[shape] <= _MOST_OF_A_SHAPE:
                lines.append(line)
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES // 3 : len(lines) - (_MAX_LINES - _MAX_LINES // 3)] = []
    return lines


def printable(text: str) -> str:
    """Return the text with a mark for each half of a surrogate pair, which no encoding can write.

    They come from bytes of a command line that are no UTF-8, and from JSON that was cut within an escape.
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def shorten(text: str) -> str:
    """Cut what is longer than `MAX_TEXT_CHARS` from the middle: beginnings name causes, ends name results."""
    if len(text) <= MAX_TEXT_CHARS:
        return text
    half = MAX_TEXT_CHARS // 2
    return f"{text[:half]}\n{text[-half:]}"


def _as_shown(text: str) -> str:
    """Return the text as a terminal would leave it: not what was written over, unless it is an error; lines unbroken."""
    text = text.replace("\r\n", "\n")
    if "\r" in text and "\n" in text:
        text = "\n".join(line if "\r" not in line else _last_written(line) for line in text.split("\n"))
    lines = text.split("\n")
    width = max(map(len, lines))
    if _LEAST_WIDTH <= width <= _MOST_WIDTH:
        text = "".join(line if _is_broken(lines, number, width) else f"{line}\n" for number, line in enumerate(lines))
    return text


def _last_written(line: str) -> str:
    *earlier, last = [piece for piece in line.split("\r") if piece] or [""]
    return "\n".join([*(piece for piece in earlier if role_of(piece.lower(), after_frame=False) == "error"), last])


def _is_broken(lines: list[str], number: int, width: int) -> bool:
    """Tell whether a line goes on in the next one, because it is as wide as can be, as is one that it follows or precedes."""
    if len(lines[number]) < width or lines[number][-1] in _FRAMES_OF_TABLES:
        return False
    return any(
        0 <= other < len(lines) and len(lines[other]) == width and not _are_alike(lines[number], lines[other])
        for other in (number - 1, number + 1)
    )


def _are_alike(one: str, other: str) -> bool:
    return compiled(_VARYING).sub("0", one) == compiled(_VARYING).sub("0", other)


def _plain(text: str) -> str:
    if "\\u" in text:
        text = compiled(_ESCAPED_LETTER).sub(lambda found: chr(int(found[1], 16)), text)
    text = text.translate(_TYPOGRAPHY)
    if not text.isascii():
        # Chinese and Korean put Latin words next to their own without a space, and patterns look for whole words.
        text = compiled(_SCRIPTS_MEET).sub(" ", text)
    if "[" in text or "\x1b" in text or "\x9b" in text:
        text = compiled(_ANSI).sub("", text)
    if "\\" in text:
        text = compiled(_ESCAPED_BREAK).sub("\n", text)
        text = text.replace('\\"', '"').replace("\\'", "'")
    if "&" in text:
        text = compiled(_CHARACTER_REFERENCE).sub(lambda found: html.unescape(found[0]), text)
    return "\n".join(_pieces(text.replace("\r", "\n")))


def _pieces(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if len(line) <= _MAX_LINE_CHARS:
            yield line
            continue
        for start in range(0, len(line), _MAX_LINE_CHARS - _LINE_OVERLAP_CHARS):
            yield line[start : start + _MAX_LINE_CHARS]
