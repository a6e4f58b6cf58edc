"""What goes over the wire as JSON: the request of a clip, and the answers that are not audio.

The OpenAPI description is generated from these models, and so are the sentences that
`field_errors` writes: a bound stands in one place.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.audio import AudioFormat
from app.engines.engine import MAX_CLIP_S, MIN_CLIP_S, Format
from app.errors import FieldError
from app.jobs.job import Status
from app.jobs.song import MAX_SECTION_S, MAX_SECTIONS, MAX_SONG_S, MIN_SECTION_S

MAX_INSTRUMENTS: Final = 12
MAX_INSTRUMENTS_LENGTH: Final = 200


# ---------------------------------------------------------------------- values of fields

# For the description: texts without control characters, but for the line breaks and tabs that become spaces.
_CONTROLS: Final = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
_TEXT_PATTERN: Final = f"^[^{_CONTROLS}]*$"
_PROMPT_PATTERN: Final = rf"^[^{_CONTROLS}]*[^\s{_CONTROLS}][^{_CONTROLS}]*$"
_NAMES_PATTERN: Final = f"^[^,{_CONTROLS}]*(,[^,{_CONTROLS}]*){{0,{MAX_INSTRUMENTS - 1}}}$"

# For the description too: 5 to 30, and whole numbers from 40 to 220, as forms spell them.
_DURATION_PATTERN: Final = r"^(([5-9]|[12][0-9])(\.[0-9]{1,20})?|30(\.0{1,20})?)$"
_TEMPO_PATTERN: Final = r"^([4-9][0-9]|1[0-9]{2}|2[01][0-9]|220)$"

# A byte order mark is nothing to see either: texts pasted from some editors begin with one.
_LINE_BREAKS: Final = re.compile("\r\n|[\r\n\t\u2028\u2029\ufeff]")
_NUMBER: Final = re.compile(r"[+-]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})([eE][+-]?\d{1,3})?", re.ASCII)


def _one_line(value: object) -> object:
    """Return a text trimmed and on one line; anything else unchanged, for the next check to refuse."""
    if not isinstance(value, str):
        return value
    text = _LINE_BREAKS.sub(" ", value)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise PydanticCustomError("control_character", "must not hold control characters or broken Unicode")
    return text.strip()


def _number(value: object) -> object:
    """Return the number that a text spells, as forms send them."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip(" ")):
        return float(value)
    return value


def _whole_number(value: object) -> object:
    """Return 90 for 90.0: JSON does not tell them apart."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole_number_or_text(value: object) -> object:
    return _whole_number(_number(value))


def _instruments(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise PydanticCustomError("instruments_type", "must be a string or a list of strings")
    names: list[str] = []
    for text in texts:
        if not isinstance(text, str):
            raise PydanticCustomError("instruments_type", "must be a string or a list of strings")
        names += text.split(",")
    # Blanks count too, in names and in characters: else there is no describing what is accepted.
    if len(names) > MAX_INSTRUMENTS:
        raise PydanticCustomError("instruments_many", f"must name at most {MAX_INSTRUMENTS} instruments")
    if len(",".join(names)) > MAX_INSTRUMENTS_LENGTH:
        raise PydanticCustomError("instruments_long", f"must be at most {MAX_INSTRUMENTS_LENGTH} characters in all")
    plain = (str(_one_line(name)) for name in names)
    return tuple(name for name in plain if name)


_Instruments = Annotated[
    tuple[str, ...],
    BeforeValidator(_instruments),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "maxLength": MAX_INSTRUMENTS_LENGTH, "pattern": _NAMES_PATTERN},
                {
                    "type": "array",
                    "items": {"type": "string", "maxLength": MAX_INSTRUMENTS_LENGTH, "pattern": _TEXT_PATTERN},
                    "maxItems": MAX_INSTRUMENTS,
                },
                {"type": "null"},
            ]
        }
    ),
]

Label = Annotated[
    str,
    StringConstraints(max_length=64),
    BeforeValidator(_one_line),
    Field(json_schema_extra={"pattern": _TEXT_PATTERN}),
]
"""What `username` may be."""

MAX_CONFIG_BYTES: Final = 64 * 1024
MAX_CONFIG_DEPTH: Final = 20
MAX_HEADERS: Final = 100


def _text(value: object) -> object:
    """Return a text as every database and encoding can hold it; of a long one, its beginning and its end."""
    if not isinstance(value, str) or not value.strip():
        return "" if isinstance(value, str) else value
    from app.failures.text import MAX_TEXT_CHARS, printable, shorten

    text = shorten(value) if len(value) > MAX_TEXT_CHARS else value
    return printable(text).replace("\0", "\ufffd")


def _config(config: dict[str, object]) -> dict[str, object]:
    level: list[object] = [config]
    for _ in range(MAX_CONFIG_DEPTH):
        level = [each for value in level for each in _inside(value)]
    if level:
        raise PydanticCustomError("config_deep", f"must be nested at most {MAX_CONFIG_DEPTH} deep")
    try:
        size_bytes = len(json.dumps(config, allow_nan=False, separators=(",", ":")))
    except ValueError:
        raise PydanticCustomError("config_infinite", "must hold no number beyond floating point") from None
    if size_bytes > MAX_CONFIG_BYTES:
        raise PydanticCustomError("config_large", f"must be at most {MAX_CONFIG_BYTES} bytes of ASCII JSON")
    return config


def _headers(headers: dict[str, object]) -> dict[str, object]:
    if not all(isinstance(value, str) for value in headers.values()):
        raise PydanticCustomError("headers_type", "must hold strings alone")
    return headers


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


_Text = Annotated[
    str,
    StringConstraints(min_length=1),
    BeforeValidator(_text),
    Field(json_schema_extra={"pattern": r"[^\s\u001c-\u001f]"}),  # Python takes the separators of files for blank too
]
_Config = Annotated[dict[str, object], AfterValidator(_config)]
_Headers = Annotated[
    dict[str, Any],
    Field(max_length=MAX_HEADERS, json_schema_extra={"additionalProperties": {"type": "string"}}),
    AfterValidator(_headers),
]

# ---------------------------------------------------------------------- requests


class _Request(BaseModel):
    """What a caller sends; `null` for an optional field is the same as leaving it out."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, fields: object) -> object:
        if not isinstance(fields, dict):
            return fields
        known = cls.model_fields
        return {name: each for name, each in fields.items() if each is not None or name not in known}


class GenerateRequest(_Request):
    """One clip. `null` for an optional field is the same as leaving it out."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"prompt": "lo-fi hip hop, rain on the window", "duration": 10}},
    )

    prompt: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1_000),
        BeforeValidator(_one_line),
        Field(json_schema_extra={"pattern": _PROMPT_PATTERN}),
    ] = Field(
        description="What the music should be. Trimmed; line breaks and tabs become spaces, other control "
        "characters are refused.",
    )
    duration: Annotated[
        float,
        Field(ge=MIN_CLIP_S, le=MAX_CLIP_S),
        BeforeValidator(_number),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "number", "minimum": MIN_CLIP_S, "maximum": MAX_CLIP_S},
                    {"type": "string", "pattern": _DURATION_PATTERN},
                    {"type": "null"},
                ]
            }
        ),
    ] = Field(
        10.0,
        description="Length in seconds. A numeric string, as forms send it, is accepted too.",
    )
    mood: (
        Annotated[
            str,
            StringConstraints(max_length=60),
            BeforeValidator(_one_line),
            Field(json_schema_extra={"pattern": _TEXT_PATTERN}),
        ]
        | None
    ) = Field(None, description="Free text, e.g. `calm`.")
    tempo: (
        Annotated[
            int,
            Field(ge=40, le=220),
            BeforeValidator(_whole_number_or_text),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": "integer", "minimum": 40, "maximum": 220},
                        {"type": "string", "pattern": _TEMPO_PATTERN},
                    ]
                }
            ),
        ]
        | None
    ) = Field(None, description="Beats per minute. A numeric string is accepted too.")
    instruments: _Instruments = Field(
        (),
        description=f'Names: `"piano, strings"` and `["piano", "strings"]` mean the same. At most {MAX_INSTRUMENTS} '
        f"names and {MAX_INSTRUMENTS_LENGTH} characters in all.",
    )
    username: Label | None = Field(None, description="A label for the file's name; never an identity.")
    seed: Annotated[int, Field(ge=0, le=2**32 - 1), BeforeValidator(_whole_number)] | None = Field(
        None, description="Asks for the same piece again; random when absent, and reported in `Studio-Seed`."
    )
    format: Format | None = Field(
        None,
        description="Container of the audio; or `mid` for the notes and `stems` for a ZIP of WAVs, one for each "
        "player, which only some engines know (`GET /api/engines`). When absent it is `wav`, unless the `Accept` "
        "header of `POST /studio-generate` chooses.",
    )


# A section's prompt is made of two of these and a key, and must be one that a clip may have.
_Style = Annotated[
    str,
    StringConstraints(min_length=1, max_length=450),
    BeforeValidator(_one_line),
    Field(json_schema_extra={"pattern": _PROMPT_PATTERN}),
]
_Words = Annotated[
    str,
    StringConstraints(max_length=60),
    BeforeValidator(_one_line),
    Field(json_schema_extra={"pattern": _TEXT_PATTERN}),
]
_Seed = Annotated[int, Field(ge=0, le=2**32 - 1), BeforeValidator(_whole_number)]
_Number = Annotated[int, Field(ge=1, le=MAX_SECTIONS), BeforeValidator(_whole_number)]
_KEY_PATTERN: Final = r"^[A-Ga-g](#|b| sharp| flat)? ?(major|minor|maj|min|m)?$"
_KEY_WORDS: Final = {"#": " sharp", "b": " flat", "maj": "major", "min": "minor", "m": "minor"}


def _key(text: str) -> str:
    """Return the key in words that engines know, such as `A flat minor`."""
    match = re.search(_KEY_PATTERN, text)
    if match is None or text.endswith("\n"):
        raise PydanticCustomError("key", "must be a key, such as `A minor` or `F# major`")
    accidental, mode = (_KEY_WORDS.get(each, each) for each in match.groups(""))
    return f"{text[0].upper()}{accidental} {mode}".strip()


class SectionRequest(_Request):
    """A section of a song. What it leaves out is as in the whole song."""

    name: Label | None = Field(None, description="What it is called; `Section 1` and so on when absent.")
    prompt: _Style | None = Field(
        None, description="What is special about it; it goes on from the song's `style`. One of the two is required."
    )
    duration: Annotated[float, Field(ge=MIN_SECTION_S, le=MAX_SECTION_S)] = Field(description="Length in seconds.")
    mood: _Words | None = Field(None, description="Free text, e.g. `calm`.")
    energy: Annotated[int, Field(ge=1, le=5), BeforeValidator(_whole_number)] | None = Field(
        None, description="From 1, still, to 5, driving."
    )
    instruments: _Instruments = Field((), description="Names, as for a clip.")
    seed: _Seed | None = Field(None, description="As for a clip.")


class SongBody(_Request):
    """A song: sections that are made one by one and joined into one track."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "title": "Rain on the window",
                "style": "lo-fi hip hop",
                "tempo": 80,
                "key": "A minor",
                "sections": [
                    {"name": "Intro", "duration": 8, "energy": 2},
                    {"name": "Verse", "duration": 16, "mood": "calm"},
                    {"name": "Outro", "duration": 8, "energy": 1},
                ],
            },
            "anyOf": [
                {"properties": {"style": {"type": "string"}}, "required": ["style"]},
                {
                    "properties": {
                        "sections": {"items": {"properties": {"prompt": {"type": "string"}}, "required": ["prompt"]}}
                    }
                },
            ],
        }
    )

    title: Label | None = Field(None, description="For the file's name.")
    style: _Style | None = Field(None, description="What all sections have in common.")
    mood: _Words | None = Field(None, description="Of the sections that have none of their own.")
    tempo: Annotated[int, Field(ge=40, le=220), BeforeValidator(_whole_number)] | None = Field(
        None, description="Beats per minute."
    )
    key: Annotated[str, AfterValidator(_key), Field(json_schema_extra={"pattern": _KEY_PATTERN})] | None = Field(
        None, description="E.g. `A minor` or `F# major`."
    )
    instruments: _Instruments = Field((), description="Of the sections that have none of their own.")
    sections: Annotated[list[SectionRequest], Field(min_length=1, max_length=MAX_SECTIONS)] = Field(
        description=f"In their order; together at most {MAX_SONG_S:g} seconds."
    )
    username: Label | None = Field(None, description="A label for the file's name; never an identity.")
    seed: _Seed | None = Field(None, description="As for a clip.")
    format: AudioFormat = Field("wav", description="Container of the joined track.")

    @field_validator("sections")
    @classmethod
    def _bounded(cls, sections: list[SectionRequest]) -> list[SectionRequest]:
        if sum(section.duration for section in sections) > MAX_SONG_S:
            raise PydanticCustomError("song_long", f"must be at most {MAX_SONG_S:g} seconds together")
        return sections

    @model_validator(mode="after")
    def _says_what_to_play(self) -> Self:
        if self.style is None and not all(section.prompt for section in self.sections):
            raise PydanticCustomError("song_silent", "is required unless each section has a prompt", {"field": "style"})
        return self


class RemakeBody(_Request):
    """Which sections of a song shall be made again, and in which format it shall be joined."""

    model_config = ConfigDict(json_schema_extra={"example": {"sections": [2]}})

    sections: Annotated[list[_Number], Field(max_length=MAX_SECTIONS)] = Field(
        [], description="Their numbers, from 1; those that are missing are made again in any case."
    )
    format: AudioFormat | None = Field(None, description="Container of the joined track; when absent, as before.")


class AnalyzeRequest(_Request):
    """A failure, as far as it is known. `null` for an optional field is the same as leaving it out."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"job_id": "test", "error": "CUDA out of memory", "config": {"per_device_train_batch_size": 8}}
        },
    )

    error: _Text = Field(
        description="The error as it was seen, from one line to a whole log. Of more than 262,144 characters the "
        "middle is left out."
    )
    job_id: (
        Annotated[
            str,
            StringConstraints(max_length=128),
            BeforeValidator(_one_line),
            Field(json_schema_extra={"pattern": _TEXT_PATTERN}),
        ]
        | None
    ) = Field(None, description="Your name for what failed; repeated in the answer.")
    config: _Config | None = Field(
        None,
        description=f"The settings of the run or the fields of the request; advice names their values. At most "
        f"{MAX_CONFIG_BYTES:,} bytes, {MAX_CONFIG_DEPTH} deep.",
    )
    status: Annotated[int, Field(ge=100, le=599), BeforeValidator(_whole_number)] | None = Field(
        None, description="The HTTP status that was answered."
    )
    headers: _Headers | None = Field(None, description=f"The header lines of that answer, at most {MAX_HEADERS}.")
    elapsed: Annotated[float, Field(ge=0, le=10_000_000)] | None = Field(
        None, description="Seconds from the beginning to the failure."
    )


class TrainingRequest(_Request):
    """How a training run stands. `null` for an optional field is the same as leaving it out."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "status": "failed",
                "error": "CUDA out of memory",
                "config": {"per_device_train_batch_size": 8},
            },
            "anyOf": [
                {"properties": {"status": {"enum": [each for each in get_args(Status) if each != "failed"]}}},
                {"properties": {"error": {"type": "string"}}, "required": ["error"]},
                {"properties": {"error_message": {"type": "string"}}, "required": ["error_message"]},
            ],
        },
    )

    status: Status = Field(description="How it stands.")
    error: _Text | None = Field(
        None,
        description="What went wrong, as for `POST /api/analyze-failure`. Required of a run that has failed.",
    )
    error_message: _Text | None = Field(None, description="Another name for `error`.")
    config: _Config | None = Field(None, description="The settings of the run, as for `POST /api/analyze-failure`.")

    @model_validator(mode="after")
    def _failures_have_an_error(self) -> Self:
        if self.status == "failed" and self.told is None:
            raise PydanticCustomError("error_missing", "is required of a run that has failed", {"field": "error"})
        return self

    @property
    def told(self) -> str | None:
        """What went wrong, under whichever name."""
        return self.error or self.error_message


_SENTENCES: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "string_type": "must be a string",
    "string_pattern_mismatch": "must match {pattern}",
    "dict_type": "must be a JSON object",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must have at most {max_length} entries",
    "list_type": "must be a list",
    "model_type": "must be a JSON object",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of {expected}",
}
"""What a person reads, by pydantic's name for the mistake; our own mistakes bring their sentence along."""


def _path(location: tuple[int | str, ...]) -> str:
    """Return the name of a field: `tempo`, or `sections[2].prompt` where there are several."""
    if location[:1] != ("sections",):
        return str(location[0])
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def field_errors(error: ValidationError) -> tuple[FieldError, ...]:
    """Return what is wrong with which field, in sentences that never quote the value."""
    return tuple(
        FieldError(
            # What is wrong with several fields together is told of the one that its error names.
            field=_path(each["loc"]) if each["loc"] else str(each.get("ctx", {}).get("field", "body")),
            message=_SENTENCES.get(each["type"], each["msg"]).format_map(
                {
                    name: f"{bound:g}" if isinstance(bound, float) else bound
                    for name, bound in each.get("ctx", {}).items()
                }
            ),
        )
        for each in error.errors(include_input=False, include_url=False)
    )


# ---------------------------------------------------------------------- answers


class Health(BaseModel):
    """The process is up."""

    status: str = Field(examples=["ok"])
    version: str
    engine: str = Field(description="Name of the engine that this service is configured for.")


class Readiness(BaseModel):
    """The service can do its job."""

    status: str = Field(examples=["ok"])
    checks: dict[str, str] = Field(
        description="`ok` for each check, by name; `ok: …` where there is something to know all the same."
    )


class InstrumentDescription(BaseModel):
    """An instrument that an engine plays."""

    name: str
    family: str = Field(examples=["strings"])


class EngineDescription(BaseModel):
    """An engine, and what can be asked of it. Empty lists mean that it takes free text alone."""

    name: str = Field(examples=["composer"])
    in_use: bool = Field(description="Whether this service makes its music with it.")
    configured: bool = Field(description="Whether it has the settings that it needs.")
    formats: list[Format] = Field(description="What `format` may be.")
    min_duration: float = Field(description="Shortest `duration`, in seconds.")
    max_duration: float = Field(description="Longest `duration`, in seconds.")
    styles: list[str] = Field(description="Styles that it knows when a prompt names them.")
    moods: list[str] = Field(description="Moods that it knows; others are understood as well as they can be.")
    instruments: list[InstrumentDescription] = Field(description="What `instruments` may name; most have synonyms.")


class Engines(BaseModel):
    """The engines that this service can be configured for."""

    engines: list[EngineDescription]


def _told(*, description: str) -> Any:
    """Return a field that is left out of an answer when there is nothing to tell."""
    return Field(None, description=description, exclude_if=lambda value: value is None)


class FieldProblem(BaseModel):
    """One field of the request that could not be used."""

    field: str = Field(description="Its name; `body` when the body as a whole is meant.")
    message: str


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it, and what to do about it."""

    type: str = Field(description="Where this error is explained, relative to this service.")
    title: str
    status: int
    detail: str = Field(description="What happened this time.")
    code: str = Field(description="The name of the error; stable, meant for programs.")
    error: str = Field(description="The title again, for front ends that read `error`.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    hint: str
    request_id: str
    errors: list[FieldProblem] = Field(description="The fields that are to blame, for `invalid-request`.")
    retry_after: int | None = _told(description="Seconds after which asking again is sensible, when known.")
    details: str | None = _told(description="For `analysis-failed`: the `detail` again, for front ends that read it.")
    attempts: int | None = _told(description="Attempts that were made before giving up.")
    checks: dict[str, str] | None = _told(description="For `not-ready`: `ok` or what is missing, by check.")
    job: str | None = _told(description="Where the job can be asked about that goes on all the same.")


_Time = Annotated[str, Field(json_schema_extra={"format": "date-time", "example": "2026-01-31T12:00:00.000Z"})]


class Asked(BaseModel):
    """What a job was asked for, in plain values whatever form they came in."""

    prompt: str
    duration: float = Field(description="Seconds.")
    mood: str | None
    tempo: int | None = Field(description="Beats per minute.")
    instruments: list[str]
    username: str | None
    seed: int = Field(description="Drawn by the service when none was given.")
    format: Format


class JobLinks(BaseModel):
    """Where a job can be asked about, relative to this service."""

    self: str = Field(description="Its status.")
    events: str = Field(description="Its changes as they happen.")
    cancel: str | None = Field(description="What to `DELETE` while it can be cancelled; null when it is over.")
    analysis: str | None = Field(description="A diagnosis, when there is one.")
    remake: str | None = Field(description="Where sections of a song that is over can be asked for again; else null.")


class AskedSection(BaseModel):
    """What a section was asked for."""

    name: str
    prompt: str
    duration: float = Field(description="Seconds.")
    mood: str | None
    energy: int | None
    tempo: int | None
    instruments: list[str]
    seed: int


class AskedSong(BaseModel):
    """What a song was asked for, with everything spelled out."""

    title: str | None
    username: str | None
    format: AudioFormat
    seed: int
    sections: list[AskedSection]


class SectionResponse(BaseModel):
    """How a section of a song stands: it is a job of its own."""

    number: int = Field(description="From 1.")
    name: str
    start: float = Field(description="When it begins in the joined track, in seconds.")
    duration: float = Field(description="Seconds.")
    job_id: str | None = Field(description="Its job; null when that is deleted.")
    status: Status
    message: str = Field(description="A sentence for people about where it stands.")
    progress: float | None = Field(description="Share done, 0 to 1; null when unknown.")
    attempt: int = Field(description="Number of the running or last attempt; 0 before the first.")
    audio_url: str | None = Field(description="Where it can be heard alone, once it has succeeded.")
    error: Problem | None = Field(description="What went wrong, when it has failed.")


class JobResponse(BaseModel):
    """A job: a piece, or a song. Times are UTC (RFC 3339)."""

    id: str = Field(pattern="^[0-9a-f]{32}$", description="Unguessable: who knows it may read and cancel the job.")
    status: Status = Field(description="`queued`, then `running`, then one of the other three for good.")
    message: str = Field(description="A sentence for people about where it stands.", examples=["Composing…"])
    progress: float | None = Field(description="Share done, 0 to 1; null when unknown.")
    queue_position: int | None = Field(description="How many are before it; null when unknown or not waiting.")
    attempt: int = Field(description="Number of the running or last attempt; 0 before the first.")
    max_attempts: int
    retryable: bool = Field(description="Whether asking again for the same piece is sensible, should it fail.")
    poll_after_ms: int | None = Field(description="Milliseconds until asking again is sensible; null when it is over.")
    engine: str = Field(description="The engine that makes the piece.")
    fallback_reason: str | None = Field(
        description="Why another engine than the first made it: the code of the first one's error; null otherwise."
    )
    request: Asked | AskedSong
    sections: list[SectionResponse] | None = Field(description="Of a song, in their order; null for a piece.")
    created_at: _Time
    started_at: _Time | None
    finished_at: _Time | None
    expires_at: _Time = Field(description="When the job and its audio are deleted.")
    audio_url: str | None = Field(description="Where the audio is, relative to this service, once it has succeeded.")
    remarks: list[str] = Field(description="What could not be done as asked: sentences for people.")
    error: Problem | None = Field(description="What went wrong, of a failed job.")
    links: JobLinks


class DiagnosisResponse(BaseModel):
    """What a failure is, and what helps."""

    job_id: str | None = Field(description="As it was sent; null when nothing was.")
    error_type: str = Field(description="One of the kinds in docs/failures.md; `unknown` when none is recognised.")
    error_phase: str = Field(description="The part of the work in which it happened.")
    description: str = Field(description="What the kind means, for people.")
    confidence: Literal["high", "medium", "low"] = Field(description="How telling the words are.")
    suggestions: list[str] = Field(
        description="What helps, the likeliest first. Some quote the error: not to be shown as HTML."
    )
    retryable: bool = Field(description="Whether doing the same again later, with nobody acting, is sensible.")


class JobDiagnosis(DiagnosisResponse):
    """Why a job has failed."""

    fault: Literal["request", "service", "upstream"] = Field(
        description="Who must do something: you with another request, the operator of this service, or the upstream."
    )
    code: str | None = Field(description="The `code` of the job's error.")
    attempts: int = Field(description="Attempts that were made.")
    elapsed: float | None = Field(description="Seconds that they took, with the waits in between.")


class TrainingLinks(BaseModel):
    """Where more can be asked about a training run, relative to this service."""

    analysis: str | None = Field(description="A diagnosis, when it has failed.")


class TrainingResponse(BaseModel):
    """A training run elsewhere, as it is kept here. Times are UTC (RFC 3339)."""

    id: str
    status: Status
    updated_at: _Time = Field(description="When it was told.")
    expires_at: _Time = Field(description="When it is deleted, unless it is told again.")
    links: TrainingLinks


class JobList(BaseModel):
    """A page of the caller's jobs, newest first."""

    jobs: list[JobResponse]
    next: str | None = Field(description="Where the next page is, relative to this service; null on the last one.")
