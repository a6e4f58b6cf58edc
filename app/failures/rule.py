"""What a rule is, and the few helpers with which the tables of rules are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from app.failures.report import Report

DECISIVE: Final = 95
"""Words that no other kind of failure uses."""

STRONG: Final = 85
"""The usual words of one kind, which a more telling line may still overrule."""

FAIR: Final = 70
"""Words that mostly mean this kind."""

PLAIN: Final = 58
"""A bare status or class name: right unless anything else in the text says more."""

HINT: Final = 42
"""Better than nothing: a frame, a source line, a vague word."""

VAGUE: Final = 36
"""A thing, and in the same line that something is wrong with it: an answer only where no other rule has one, and no
reason to doubt those that have."""

TROUBLE: Final = (
    r"(?:\b(?:errors?|exceptions?|fail(?:s|ed|ure|ing)?|invalid|broken|cannot|can'?t|can not|could not|couldn'?t|unable|missing|mismatch\w{0,3}"
    r"|incorrect\w{0,2}|unexpected|crash\w{0,3}|wrong|not found|doesn'?t|does not|didn'?t|did not|won'?t|problem|issue|trouble|bad|illegal"
    r"|refus\w{1,3}|rejects?|rejected|chokes?|breaks?|dies|complain\w{0,3}|lacks?|does nothing)\b|报错|失败|错误|出错|异常|无法|不存在|エラー|失敗|오류|실패|ошибк)"
)
"""Words that say that something is wrong, for patterns that also name what it is wrong with."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One way in which one kind of failure is worded.

    Attributes:
        name: In kebab-case, unique; for the tests and for whoever wonders why.
        type: A row of `TYPES`.
        weight: How much its words prove, 0 to 100; the constants above are the steps in use.
        patterns: Regular expressions for one line in small letters; any of them will do. Each must contain
            a piece of text that always occurs, of `MIN_PIECE_CHARS` at least (it is looked for first, see
            `patterns.py`), and no unbounded repetition.
        example: A message that this rule alone is enough to explain.
        when: A condition on what the report says near the line that was found, and at its ends; or None.
        unless: Patterns that take the rule's word away when one of them is found in a line of some weight.
        phase: Another phase than the type's usual one, or a condition that picks one.
        anywhere: Whether frames and quoted code count nearly as much as an error line.
        config: The configuration that goes with the example.
    """

    name: str
    type: str
    weight: int
    patterns: tuple[str, ...]
    example: str
    when: Callable[[Report], bool] | None = None
    unless: tuple[str, ...] = ()
    phase: str | Callable[[Report], str | None] | None = None
    anywhere: bool = False
    config: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_vague(self) -> bool:
        """Tell whether the rule only has an answer where no other has one."""
        return self.weight < HINT


def status(code: int) -> tuple[str, ...]:
    """Return patterns for the ways in which an HTTP status is told: by clients, servers, logs and JSON bodies."""
    after = r"(?:http(?:/\d(?:\.\d)?)?|status|code|error|response|returned|failed with|answered|got|received|api)"
    between = r"(?:[ _-]?code)?(?: is| was| of)?[\"'\]]{0,2}[ :=(\[#\"']{1,4}(?:(?:http|status|code|error|an?) ?){0,3}"
    return (
        rf"\b{after}{between}{code}\b(?![.:]\d)",
        rf"\b{code}[\]):]?[ :,-]{{1,3}}\(?(?:client error|server error|internal|bad |not found|unauthori[sz]ed|forbidden|too many|payment|request|service|gateway|payload|unprocessable|conflict|method|origin|web server|a timeout|\{{)",
        rf"^[ \[(]{{0,3}}{code}[ \]).]{{0,3}}$",
        rf"\b(?:response|answer|reply)\b.{{0,40}}\({code}\)",
        rf"\"(?:param|status|code|error_code|statuscode|http_code)\": ?\"{code}\"",
        rf"(?<![\d.:-]){code} ?(?:errors?\b|response|status|错误|報錯|报错|origin)",
        rf"(?:\b(?:returns?|returning|throws?|throwing|gives?|giving|gets?|getting|an?|the|with|raises?)|返回|出现|错误码?) {{0,1}}{code}(?![\d.:%]| ?(?:[kmg]i?b|ms|px|s|sec|hours|tokens|steps|epochs|gpus|x)\b)",
    )


def in_trouble(things: str, trouble: str = TROUBLE, *, within: int = 60) -> tuple[str, str]:
    """Return patterns for a thing, one of several, that stands in one line with words for trouble, in either order."""
    return (
        rf"(?<![\w/.-])(?:{things})(?![\w/]).{{0,{within}}}(?<![a-z]){trouble}(?![a-z])",
        rf"(?<![a-z]){trouble}(?![a-z]).{{0,{within}}}(?<![\w/.-])(?:{things})(?![\w/])",
    )
