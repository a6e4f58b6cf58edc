"""What a line of a report is: an error says what happened, quoted code only what might."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from app.failures.compiled import compiled

Role = Literal["error", "plain", "raise", "source", "frame", "log", "warning", "notice", "aftermath"]
"""What a line is.

`error` is an exception's own line or a log line of that level, `raise` a quoted line of code that raises,
`source` any other quoted code, `log` a line of an access log or of level INFO, `warning` a log line of that level,
`notice` one of the warnings that libraries give healthy runs, `aftermath` what follows from an error before it: threads
that lose their connection, objects that cannot be closed, a launcher that tells how its processes ended.
"""

_MAX_READ_CHARS: Final = 600
_LEVEL_CHARS: Final = 200

_FRAME: Final = (
    r"^\s{0,12}(?:file \"[^\"]{1,300}\", line \d{1,9}|at [\w.$<>\[\] ]{1,120}\(.{1,300}:\d{1,9}|at (?:file:/|/|node:|async )"
    r"|[\w./\\:-]{1,200}\.py:\d{1,9}: in |[\w./\\-]{1,200}\.py:\d{1,9} in )"
)
_ERROR: Final = (
    r"^(?:uncaught )?(?:[\w.<>]{1,120}\.)?\w{0,80}(?:error|exception|timeout|interrupt|abort|fault|exit|refused|reset|disconnected|notfound"
    r"|oferror|invaliddata)(?:\s?\[\w{1,60}\])?(?::|\(|$|\s?\{)"
)
_LEVELS: Final[Mapping[str, Role]] = {
    **dict.fromkeys(("error", "critical", "fatal", "severe", "err!", "panic", "crit", "e", "f"), "error"),
    **dict.fromkeys(("warn", "warning", "w"), "warning"),
    **dict.fromkeys(("info", "debug", "trace", "verbose", "i"), "log"),
}
_LEVEL: Final = (
    r"^(?P<letter>[iwef])\d{4} \d\d:\d\d:[^\]]{1,120}\]|(?:^|[\s\[|(:\"'=])"
    r"(?P<word>(?:error|critical|fatal|severe|err!|panic|crit)(?![\"']?\s?[:=]\s?(?:null|none|nil|false|0\b|\"\"|''))"
    r"|warn|warning|info|debug|trace|verbose)(?=$|[\s\]|):\"',])"
)
"""The first level decides: an INFO line may speak of an error."""

_AFTER_LEVEL: Final = r"^[\]|):\"' -]{0,3} ?(?:[\w.]{1,60}:(?! ))?"
_INDENTED: Final = r"\s{4}"
_ACCESS_LOG: Final = r"\"(?:get|post|put|head) /"
_NOTICE: Final = (
    r"\b[a-z]{3,40}warning\b(?!: detected keyboardinterrupt)|this is expected if"
    r"|^some weights of|were not (?:used when|initialized)|you should probably train|you can safely ignore|is deprecated"
    r"|deprecated and will be|falling back to|defaulting to|proceeding without|using .{1,60} instead|will not be (?:enabled|used)"
    r"|torch_use_cuda_dsa|consider passing cuda_launch_blocking|might be asynchronously reported"
    r"|unable to register cu|could not find tensorrt|libnvinfer|rebuild tensorflow|disabling parallelism|you may observe unexpected behavior"
    r"|will result in indexing errors|which is below the recommended minimum|were not passed to|tf-trt warning"
    r"|^see documentation for memory management|(?:^|[:>\])-] ?)setting `?\w{1,40}`? ?(?:=|to) ?`?\w{1,20}`?[.\d:]{0,20}|associated word embeddings|right-padding was detected"
    r"|error caught was: no module named|^using \w{2,12}_token, but it is not set"
    r"|if this is a private repo|trying to access a private or gated repo"
)
_TELLING_NOTICE: Final = (
    r"warning.{0,200}(?:is not compatible with the current|not enough free disk space|detected keyboardinterrupt|not in available provider names"
    r"|not writable|is not a writable|invalid value encountered in cast)"
    r"|is not compatible with the current pytorch installation"
)
"""Warnings that healthy runs do not give."""

_DUMP: Final = (
    r"^[-*•+ ]{0,4}`?[\w .()/-]{2,40}`? ?(?:version|platform|release)\b[^:]{0,20}:|"
    r"^[-*•+ ]{0,4}(?:os|platform|python|operating system|gpu|cpu|ram|device|browser|node|system|hardware|gpu (?:type|number|models?))\b[^:]{0,24}: |"
    r"^[\w.\[\]-]{2,40}(?:==| ?: ?v?| {1,40}v?)\d{1,5}(?:\.\d{1,5}){1,3}[\w.+-]{0,20}$|"
    r"^[\w.\[\]-]{2,40} {2,40}v?\d{1,5}(?:\.\d{1,5}){1,3}\b|"
    r"^(?!ffmpeg|ffprobe|sox\b|espeak)[\w.\[\]-]{2,40}(?:==[\w.]{1,20})?(?:; extra == '\w{1,20}')? is not installed\.?$|"
    r"^(?:collecting|using cached|downloading|requirement already satisfied|successfully installed)\b|"
    r"^(?:export )?(?!\w{0,80}(?:error|code|status|reason|killed)=)[a-z0-9]{1,40}(?:_[a-z0-9]{1,40}){1,8}=\S{0,300}$|"
    r"\bpassed {1,40}\[ {0,2}\d{1,3}%\]$|^\w{1,100}\{[^}]{1,300}\} 0(?:\.0)?$"
)
_RAISE: Final = r"^\W{0,8}(?:\d{1,5}\s{1,8})?[│|]?\s{0,20}(?:raise|throw|reject\()\b"
_CODE: Final = (
    r"^\s{0,40}(?:(?:-{1,40}> ?)?\d{1,5}\s{1,40})?(?:return |self\.|await |if |elif |with |except |try:|for |def |class |import |from \w{1,60} import )|"
    r"^\s{2,40}#\s|^\s{1,40}[\w., ]{1,80} = [\w.]{1,80}\(|^\s{1,40}[\w.]{1,80}\([^:]{0,200}\)?,?$"
)


_CODE_AND_ERRORS: Final[tuple[tuple[Role, bool, str], ...]] = (
    ("frame", True, _FRAME),
    ("error", False, _ERROR),
    ("raise", True, _RAISE),
    ("warning", False, _TELLING_NOTICE),
    ("notice", False, _NOTICE),
    ("notice", False, _DUMP),
    ("source", True, _CODE),
)
"""What a line may be whatever its level, whether its indentation counts for that, and how it looks."""

_SAID_BY_THE_REST: Final = frozenset({"error", "frame", "raise", "notice", "source"})
_OUTCOMES: Final = frozenset({"error", "plain", "raise", "log", "warning"})

_COMMENT: Final = "  # "
_SEPARATE_END: Final = r"^exception (?:ignored )?in\b"
_LAUNCHER: Final = r"^(?:srun|wandb): (?!.{0,200}\b(?:oom|out of memory))"


def with_roles(lines: Iterable[str]) -> Iterator[tuple[str, str, Role]]:
    """Yield each line, the line in small letters without indentation and comment, and what it is."""
    frame_indent: int | None = None
    after_frame = erred = ending = False
    for line in lines:
        small = line.lower()
        bare = small.lstrip()
        indent = len(small) - len(bare)
        if frame_indent is not None and indent <= frame_indent:
            frame_indent = None
        role = role_of(small, after_frame=after_frame or frame_indent is not None)
        after_frame = role == "frame"
        if after_frame:
            frame_indent = indent
        ending = ending or (erred and compiled(_SEPARATE_END).search(bare) is not None)
        erred = erred or role == "error"
        if role in _OUTCOMES and (ending or (erred and compiled(_LAUNCHER).search(bare))):
            ending = ending and role != "error"
            role = "aftermath"
        yield line, (small.partition(_COMMENT)[0] if role == "source" else small).strip(), role


def role_of(small: str, *, after_frame: bool) -> Role:
    """Return what the line is.

    Args:
        small: The line in small letters, with its indentation.
        after_frame: Whether the line before it was a frame, or it belongs to the code that a frame quotes.
    """
    whole = small[:_MAX_READ_CHARS]
    role = _of_code(whole)
    if role:
        return role
    if after_frame:
        return "source"
    bare = whole.lstrip()
    level = compiled(_LEVEL).search(bare[:_LEVEL_CHARS])
    if level is None:
        return "log" if compiled(_ACCESS_LOG).search(bare[:_LEVEL_CHARS]) else "plain"
    rest = compiled(_AFTER_LEVEL).sub("", bare[level.end() :], count=1)
    role = _of_code(rest)
    if role in _SAID_BY_THE_REST and (role != "source" or compiled(_INDENTED).match(rest)):
        return role
    return _LEVELS[level["letter"] or level["word"]]


def _of_code(whole: str) -> Role | None:
    bare = whole.lstrip()
    for role, indentation_counts, pattern in _CODE_AND_ERRORS:
        if compiled(pattern).search(whole if indentation_counts else bare):
            return role
    return None
