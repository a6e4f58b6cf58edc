"""What a Gradio app offers: its functions, their inputs and outputs, read from `/config` and `/info`.

Source: observed with Gradio 3.50.2, 4.16.0, 4.44.1, 5.9.1, 5.50.0 and 6.31.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from app.engines.huggingface.mapping import Parameter, assign
from app.engines.huggingface.transport import Answer, Conversation
from app.engines.huggingface.upstream_errors import error_from_answer
from app.errors import EngineError, UpstreamBadResponse, UpstreamRejected
from app.retry import Deadline


class _Dependency(msgspec.Struct):
    """One function in `/config`; only what is needed, whatever else the version sends."""

    inputs: list[int]
    outputs: list[int]
    api_name: str | bool | None = None
    id: int | None = None
    backend_fn: bool = True
    batch: bool = False
    show_api: bool = True
    api_visibility: str = "public"


class _Component(msgspec.Struct):
    id: int
    type: str = ""
    props: dict[str, object] = {}
    skip_api: bool = False


class _Config(msgspec.Struct):
    version: str
    dependencies: list[_Dependency]
    components: list[_Component]
    api_prefix: str | None = None


class _InfoParameter(msgspec.Struct):
    label: str = ""
    parameter_name: str | None = None
    parameter_has_default: bool = False
    parameter_default: object = None


class _Endpoint(msgspec.Struct):
    parameters: list[_InfoParameter] = []


class _Info(msgspec.Struct):
    named_endpoints: dict[str, _Endpoint] = {}
    unnamed_endpoints: dict[str, _Endpoint] = {}


INFO_TIMEOUT_S: Final = 5.0
INFO_SHARE: Final = 0.25
"""How long, and for which share of an attempt, the description of the functions is waited for."""

DEFAULT_NAME: Final = "predict"
"""What Gradio's own examples call: an address that ends in it means "the function" where none has this name."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the app.

    Attributes:
        index: Its number, `fn_index` on the wire.
        name: Its API name without slash, or empty.
        parameters: Its inputs in order, State included.
        outputs: Its outputs' component types, lower case.
        is_listed: The app offers it to API users.
        is_batched: It takes and gives lists of everything (`batch=True`).
    """

    index: int
    name: str
    parameters: tuple[Parameter, ...]
    outputs: tuple[str, ...]
    is_listed: bool
    is_batched: bool = False

    @property
    def title(self) -> str:
        return f"/{self.name}" if self.name else f"number {self.index}"


@dataclass(frozen=True, slots=True)
class App:
    """A Gradio app as its `/config` and `/info` describe it.

    Attributes:
        version: Of Gradio.
        base_url: As configured.
        api_prefix: What stands between that and the routes; empty before 5.0.
        functions: All of them.
        is_described: False when `/info`, with names and defaults of the inputs, was there and could not be had.
    """

    version: str
    base_url: str
    api_prefix: str
    functions: tuple[Function, ...]
    is_described: bool = True

    @property
    def api_url(self) -> str:
        return self.base_url + self.api_prefix

    @property
    def major(self) -> int:
        head = self.version.partition(".")[0]
        return int(head) if head.isdecimal() else 0

    def choose(self, wanted: str | None) -> Function:
        """Return the function named or numbered `wanted`, or the one that makes audio from a prompt.

        Raises:
            UpstreamRejected: there is no such function.
        """
        if wanted is not None:
            named = [each for each in self.functions if each.name == wanted]
            named += [each for each in self.functions if wanted.isdecimal() and each.index == int(wanted)]
            if not named and wanted == DEFAULT_NAME:
                return self.choose(None)
            if not named:
                raise UpstreamRejected(f"The app has no function {wanted[:80]!r}; it has: {self._titles()}.")
            return named[0]
        if not (best := max(self.functions, key=_fitness, default=None)) or _fitness(best) <= 0:
            raise UpstreamRejected(f"The app has no function that makes audio from text; it has: {self._titles()}.")
        return best

    def _titles(self) -> str:
        return ", ".join(each.title for each in self.functions[:12]) or "none"


_AUDIO_OUTPUTS: Final[Mapping[str, int]] = {"audio": 8, "file": 4, "video": 3, "html": 2, "json": 2, "textbox": 1}


def _fitness(function: Function) -> int:
    """Return how likely this is the function to call: 0 for impossible; the first of equals wins."""
    audio = max((_AUDIO_OUTPUTS.get(kind, 0) for kind in function.outputs), default=0)
    fields = set(assign(function.parameters).values())
    if not audio or "prompt" not in fields:
        return 0
    return 10 * audio + 4 * ("duration" in fields or "tokens" in fields) + 2 * function.is_listed + bool(function.name)


def read_app(conversation: Conversation, base_url: str, *, deadline: Deadline) -> App | None:
    """Return the Gradio app at `base_url`, or None when there is something else.

    Raises:
        EngineError: the address is asleep, protected or broken, so that nothing can be said.
    """
    answer = conversation.get(f"{base_url}/config", deadline=deadline)
    config = _config_in(answer)
    if config is None:
        # A Space without Gradio (or a plain server) has no /config; anything else is trouble.
        if answer.status in (401, 429) or answer.status >= 500:
            raise error_from_answer(answer)
        return None
    app_prefix = (config.api_prefix or "").rstrip("/")
    info, is_described = _Info(), False
    # Names and defaults are good to have, and an app can be called without them.
    with suppress(EngineError, msgspec.ValidationError):
        patience = deadline.within(min(INFO_TIMEOUT_S, deadline.remaining_s() * INFO_SHARE))
        described = conversation.get(f"{base_url}{app_prefix}/info", deadline=patience)
        is_described = described.ok or 400 <= described.status < 500
        info = msgspec.convert(described.json(), _Info) if described.ok else info
    return App(config.version, base_url, app_prefix, _functions(config, info), is_described)


def _config_in(answer: Answer) -> _Config | None:
    if not answer.ok:
        return None
    try:
        value = answer.json()
    except UpstreamBadResponse as error:
        says_it_is_empty = answer.headers.get("Content-Length") == "0"
        if answer.body.lstrip()[:1] == b"{" or (not answer.body and not says_it_is_empty):
            # Cut off, without the wire telling.
            raise UpstreamBadResponse(
                "The engine's description of itself is incomplete.", log_text=error.log_text, repeat=True
            ) from None
        return None
    if not isinstance(value, dict) or not {"version", "dependencies"} <= value.keys():
        return None  # some servers answer every GET with 200 and a little JSON
    try:
        return msgspec.convert(value, _Config)
    except msgspec.ValidationError as error:
        raise UpstreamBadResponse("The Gradio app describes itself in an unknown way.", log_text=str(error)) from None


def _functions(config: _Config, info: _Info) -> tuple[Function, ...]:
    components = {component.id: component for component in config.components}
    functions = []
    for position, dependency in enumerate(config.dependencies):
        if not dependency.backend_fn:
            continue
        index = position if dependency.id is None else dependency.id
        name = dependency.api_name.strip("/") if isinstance(dependency.api_name, str) else ""
        inputs = [components.get(each, _Component(each)) for each in dependency.inputs]
        endpoint = info.named_endpoints.get(f"/{name}") or info.unnamed_endpoints.get(str(index)) or _Endpoint()
        functions.append(
            Function(
                index=index,
                name=name,
                parameters=tuple(_parameters(inputs, endpoint)),
                outputs=tuple(components[each].type.lower() for each in dependency.outputs if each in components),
                is_listed=bool(name)
                and dependency.show_api
                and dependency.api_visibility == "public"
                and dependency.api_name is not False,
                is_batched=dependency.batch,
            )
        )
    return tuple(functions)


def _parameters(inputs: Sequence[_Component], endpoint: _Endpoint) -> Iterator[Parameter]:
    """Join what `/config` knows of the inputs (components) with what `/info` does (names, defaults)."""
    # /info leaves State out.
    visible = [each for each in inputs if each.type.lower() != "state" and not each.skip_api]
    described = endpoint.parameters if len(endpoint.parameters) == len(visible) else []
    by_id = {id(component): parameter for component, parameter in zip(visible, described, strict=False)}
    for component in inputs:
        named = by_id.get(id(component), _InfoParameter())
        props = component.props
        kind = component.type.lower()
        choices = _choices(props.get("choices"))
        takes_many = kind == "checkboxgroup" or props.get("multiselect") is True
        yield Parameter(
            name=named.parameter_name or "",
            label=str(props.get("label") or named.label or ""),
            component=kind,
            default=_default(kind, props, named, choices, takes_many=takes_many),
            minimum=number_or_none(props.get("minimum")),
            maximum=number_or_none(props.get("maximum")),
            step=number_or_none(props.get("step")) if kind == "slider" else None,
            choices=choices,
            choice_labels=_choice_labels(props.get("choices")),
            takes_many=takes_many,
        )


def _default(
    kind: str, props: Mapping[str, object], named: _InfoParameter, choices: tuple[object, ...], *, takes_many: bool
) -> object:
    """Return what to send for an input that nobody set."""
    if kind in ("state", "audio", "image", "video", "file"):
        return None  # the value shown there is a preview, not something to send back
    value = named.parameter_default if named.parameter_has_default else props.get("value")
    if value is not None:
        return value
    if takes_many:
        return []
    if choices:
        return choices[0]
    # 5 and later refuse null for a slider.
    return {"textbox": "", "text": "", "textarea": "", "checkbox": False, "slider": props.get("minimum") or 0}.get(kind)


def _choices(value: object) -> tuple[object, ...]:
    """Return the values of `choices`, which are plain in 3.x and [label, value] pairs later."""
    if not isinstance(value, list):
        return ()
    return tuple(item[1] if isinstance(item, list) and len(item) == 2 else item for item in value)


def _choice_labels(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(str(item[0] if isinstance(item, list) and len(item) == 2 else item) for item in value)


def number_or_none(value: object) -> float | None:
    """Return a JSON number as a float, and None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:  # JSON knows no largest integer
        return None
