"""Mapping: our fields onto the parameters of a Gradio function.

Which parameter is the prompt, which the length? Nothing says so but names, labels and
components, so there are rules for each field (`RULES`), read in order; each parameter and
each field is used once. What a function has no parameter for goes into the prompt's text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.engines.engine import Brief
from app.errors import UpstreamRejected

TOKENS_PER_SECOND: Final = 50
"""MusicGen's frame rate: how many tokens make a second of music.

Source: huggingface.co/docs/transformers/model_doc/musicgen, read 2026-08.
"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One input of a Gradio function.

    Attributes:
        name: Its Python name, or empty where the server does not tell (3.x).
        label: What the page shows.
        component: Gradio's component type in lower case: `textbox`, `slider`, `state`, …
        default: What to send when nothing is asked for.
        minimum, maximum, step: Bounds of a slider or number, or None.
        choices: Allowed values of a radio, dropdown or checkbox group; empty for none.
        choice_labels: What the page shows for each choice; empty where that is the value itself.
        takes_many: The value is a list of choices.
    """

    name: str
    label: str
    component: str
    default: object = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[object, ...] = ()
    choice_labels: tuple[str, ...] = ()
    takes_many: bool = False

    @property
    def words(self) -> str:
        """Return name and label as words, for the rules to search."""
        return re.sub(r"[^a-z0-9]+", " ", f"{self.name} {self.label}".lower()).strip()

    @property
    def is_number(self) -> bool:
        return self.component in ("slider", "number")

    @property
    def is_text(self) -> bool:
        return self.component in ("textbox", "text", "textarea")


@dataclass(frozen=True, slots=True)
class Rule:
    """How one of our fields finds its parameter.

    Attributes:
        field: The placeholder's name (see `values_of`).
        suits: Whether the component can take the value.
        pattern: Searched in the parameter's words.
        unless: Words that mean something else after all.
    """

    field: str
    suits: Callable[[Parameter], bool]
    pattern: re.Pattern[str]
    unless: re.Pattern[str]


def _rule(field: str, suits: Callable[[Parameter], bool], pattern: str, unless: str = r"(?!)") -> Rule:
    searched = pattern if pattern == _ANYTHING else rf"\b(?:{pattern})\b"
    return Rule(field, suits, re.compile(searched), re.compile(rf"\b(?:{unless})\b"))


_ANYTHING: Final = r".*"  # no words at all, too: 3.x has text boxes with neither name nor label


def _is_choice_or_text(parameter: Parameter) -> bool:
    return parameter.is_text or bool(parameter.choices)


_NOT_A_PROMPT: Final = (
    r"negative|model|path|lyrics?|api|key|token|language|speaker|voice|style|genre|tempo|bpm|mood|instruments?"
    r"|file|name"
)

RULES: Final = (
    _rule("seed", lambda it: it.is_number, r"seed", r"randomi[sz]e"),
    _rule("tokens", lambda it: it.is_number, r"(max )?(new )?tokens|max new tokens", r"top|penalty"),
    _rule(
        "duration",
        lambda it: it.is_number,
        r"duration|length|seconds?|secs?|time|how long|audio (length|end)( in s)?",
        r"max lines|context|overlap|extend|stride|fade|start|offset|timesteps?|steps?",
    ),
    _rule("tempo", lambda it: it.is_number or _is_choice_or_text(it), r"tempo|bpm|beats per minute"),
    _rule("mood", _is_choice_or_text, r"moods?|emotions?|vibe|feeling"),
    _rule("instruments", _is_choice_or_text, r"instruments?|instrumentation"),
    _rule("prompt", lambda it: it.is_text, r"prompts?|description|input text|caption|text prompt", _NOT_A_PROMPT),
    _rule("prompt", lambda it: it.is_text, r"texts?|input|query|describe.*|idea|music|song|tags?", _NOT_A_PROMPT),
    _rule("prompt", lambda it: it.is_text, _ANYTHING, _NOT_A_PROMPT),
    _rule("prompt", lambda it: it.is_text, _ANYTHING, r"negative|api|key|token|path"),
)


def assign(parameters: Sequence[Parameter]) -> dict[int, str]:
    """Return which of our fields goes into which parameter, by position."""
    assigned: dict[int, str] = {}
    for rule in RULES:
        if rule.field in assigned.values() or (rule.field == "duration" and "tokens" in assigned.values()):
            continue
        for position, parameter in enumerate(parameters):
            words = parameter.words
            fits = position not in assigned and rule.suits(parameter)
            if fits and rule.pattern.search(words) and not rule.unless.search(words):
                assigned[position] = rule.field
                break
    return assigned


def arguments(
    parameters: Sequence[Parameter], brief: Brief, explicit: Sequence[object] | Mapping[str, object] | None = None
) -> list[object]:
    """Return Gradio's `data`: one value per parameter, State (null) included.

    Args:
        parameters: The function's inputs, in order.
        brief: What the piece should be.
        explicit: `HF_INPUTS`: a list is used as it is, an object overrides parameters by
            name or label; placeholders are filled in.
    Raises:
        UpstreamRejected: `explicit` names a parameter that the function does not have.
    """
    if isinstance(explicit, Sequence):
        filled = fill(list(explicit), brief)
        assert isinstance(filled, list)  # noqa: S101 - a list is filled into a list
        return filled
    data = [parameter.default for parameter in parameters]
    assigned, values = assign(parameters), values_of(brief)
    unplaced = set(ALL_IN_WORDS)
    for position, field in assigned.items():
        fitted = _fit(values[field], parameters[position])
        if fitted is not None:
            data[position] = fitted
            # Of several names, those that are not among the choices are said in the prompt with the others.
            if not parameters[position].choices or len(_names_in(values[field])) == _count(fitted):
                unplaced.discard(field)
    for position, field in assigned.items():
        if field == "prompt":
            data[position] = describe(brief, unplaced)
        elif field == "seed":
            _switch_off_random_seed(data, parameters)
    if explicit:
        _override(data, parameters, explicit, brief)
    return data


def _count(fitted: object) -> int:
    return len(fitted) if isinstance(fitted, list) else 1


def _switch_off_random_seed(data: list[object], parameters: Sequence[Parameter]) -> None:
    for position, parameter in enumerate(parameters):
        if parameter.component == "checkbox" and re.search(r"\brandom\w*\b.*\bseed\b", parameter.words):
            data[position] = False


def _override(
    data: list[object], parameters: Sequence[Parameter], explicit: Mapping[str, object], brief: Brief
) -> None:
    for name, value in explicit.items():
        positions = [i for i, it in enumerate(parameters) if name.lower() in (it.name.lower(), it.label.lower())]
        if not positions:
            known = ", ".join(it.name or it.label for it in parameters if it.component != "state")
            raise UpstreamRejected(f"HF_INPUTS names a parameter that the function does not have; it has: {known}.")
        data[positions[0]] = fill(value, brief)


def values_of(brief: Brief) -> dict[str, object]:
    """Return the placeholders of `HF_INPUTS` and what they stand for.

    `{prompt}` is the caller's prompt alone, `{text}` the prompt with mood, tempo and
    instruments put into words.
    """
    return {
        "prompt": brief.prompt,
        "text": describe(brief),
        "duration": _whole(round(brief.duration_s, 6)),
        "tokens": round(brief.duration_s * TOKENS_PER_SECOND),
        "seed": brief.seed,
        "mood": brief.mood or "",
        "tempo": brief.tempo_bpm,
        "instruments": ", ".join(brief.instruments),
    }


def fill(template: object, brief: Brief) -> object:
    """Return `template` with its placeholders filled in; one that stands alone keeps its type."""
    values = values_of(brief)

    def filled(value: object) -> object:
        if isinstance(value, list):
            return [filled(item) for item in value]
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if not isinstance(value, str):
            return value
        alone = re.fullmatch(r"\{(\w+)\}", value)
        if alone and alone[1] in values:
            return values[alone[1]]
        # Only known names are replaced, and the result is not searched again: a prompt with braces stays as it is.
        return re.sub(
            r"\{(\w+)\}",
            lambda match: "" if (known := values.get(match[1], match[0])) is None else str(known),
            value,
        )

    return filled(template)


ALL_IN_WORDS: Final = frozenset({"mood", "tempo", "instruments"})


def describe(brief: Brief, fields: Collection[str] = ALL_IN_WORDS) -> str:
    """Return the prompt, with those of mood, tempo and instruments that `fields` names put into words."""
    parts = [brief.prompt]
    if "mood" in fields and brief.mood:
        parts.append(f"{brief.mood} mood")
    if "tempo" in fields and brief.tempo_bpm is not None:
        parts.append(f"{brief.tempo_bpm} BPM")
    if "instruments" in fields and brief.instruments:
        *others, last = brief.instruments
        parts.append(f"with {', '.join(others)} and {last}" if others else f"with {last}")
    return ", ".join(parts)


def _fit(value: object, parameter: Parameter) -> object:
    """Return the value as the parameter can take it, or None when there is none or it cannot."""
    if value in (None, ""):
        return None
    if parameter.choices:
        wanted = _names_in(value)
        labels = parameter.choice_labels or parameter.choices
        chosen = [
            choice
            for choice, label in zip(parameter.choices, labels, strict=False)
            if not wanted.isdisjoint((str(choice).lower(), str(label).lower()))
        ]
        if not chosen:
            return None
        return chosen if parameter.takes_many else chosen[0]
    if parameter.is_number:
        return _fit_number(value, parameter)
    return str(value)


def _names_in(value: object) -> set[str]:
    return {part.strip().lower() for part in str(value).split(",")}


def _fit_number(value: object, parameter: Parameter) -> float | int:
    number = float(str(value))
    if re.search(r"\b(ms|milliseconds?)\b", parameter.words):
        number *= 1000
    elif re.search(r"\bminutes?\b", parameter.words) and "beats" not in parameter.words:
        number /= 60
    number = round(number, 6)
    if parameter.step and parameter.step > 0:
        start = parameter.minimum or 0.0
        steps = (number - start) / parameter.step
        if abs(steps) < _MOST_STEPS:
            number = round(start + round(steps) * parameter.step, 6)
    if "seed" in parameter.words and parameter.maximum is not None and number > parameter.maximum > 0:
        number = number % (parameter.maximum + 1)  # a clamped seed would be the same for most requests
    if parameter.maximum is not None:
        number = min(number, parameter.maximum)
    if parameter.minimum is not None:
        number = max(number, parameter.minimum)
    return _whole(number)


# Beyond it, the steps are finer than the numbers.
_MOST_STEPS: Final = 1e12


def _whole(number: float) -> float | int:
    """Return an integer where the number is one: `10` looks right to every upstream, `10.0` does not."""
    return int(number) if number == int(number) else number
