"""Every knob of the service: name, unit, bounds and one sentence. The only reader of the environment.

All mistakes are reported at once, by variable name and never by value, and a name that
looks like one of ours but is not (`STUDIO_DEADLIN_S`) is a mistake too: a typo must not
quietly become a default. `docs/configuration.md` is `markdown_table()`, kept current by a test.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_args
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

JsonInputs = list[object] | dict[str, object]
EngineName = Literal["huggingface", "composer"]

_SPACE_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
_CALLER: Final = r"[\w.-]{1,64}"
_LIMIT: Final = r"[1-9][0-9]{0,5}/(second|minute|hour|day)"
_ORIGIN: Final = r"https?://[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?(?::[1-9][0-9]{0,4})?"
_HOST: Final = r"(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]"
_MOST_NAMES: Final = 50
"""Origins, or hosts, that can be listed."""


class SettingsError(Exception):
    """The environment holds settings that cannot be used; the text names each of them."""


_LONG_PASSWORD_CHARS: Final = 8


class Settings(BaseSettings):
    """The configuration of one process; frozen once it is read."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        str_strip_whitespace=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read keyword arguments and the environment, and no files."""
        return init_settings, env_settings

    engine: EngineName = Field("huggingface", alias="STUDIO_ENGINE", description="Which engine makes the music.")
    fallback: str | None = Field(
        None,
        alias="STUDIO_FALLBACK",
        description="Which engines make it when that one cannot, in order, separated by commas: `composer`. "
        "Unset means none.",
    )
    breaker_failures: int = Field(
        5,
        ge=1,
        le=1_000,
        alias="STUDIO_BREAKER_FAILURES",
        description="Failures of the upstream in a row after which it is left alone for a while.",
    )
    breaker_open_s: float = Field(
        15.0,
        ge=1,
        le=120,
        alias="STUDIO_BREAKER_OPEN_S",
        description="Seconds for which it is left alone at first; twice as long with each probe that fails, up to 120.",
    )
    deadline_s: float = Field(
        125.0,
        ge=1,
        le=900,
        alias="STUDIO_DEADLINE_S",
        description="Seconds a waiting request may take from arrival to answer, all attempts included.",
    )
    max_active: int = Field(
        64,
        ge=1,
        le=2_000,
        alias="STUDIO_MAX_ACTIVE",
        description="Generations that callers wait for at the same time; further requests get `overloaded` at once. "
        "Jobs have `STUDIO_JOB_WORKERS`.",
    )
    max_audio_bytes: int = Field(
        32 * 2**20,
        ge=2**16,
        le=2**30,
        alias="STUDIO_MAX_AUDIO_BYTES",
        description="Largest decoded audio accepted from an upstream, in bytes; a whole answer may take twice that.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="STUDIO_LOG_LEVEL", description="Least severe log lines that are written."
    )
    log_format: Literal["json", "text"] = Field(
        "json",
        alias="STUDIO_LOG_FORMAT",
        description="`json`: one object a line, for programs; `text`: for a person at a terminal.",
    )
    host: str | None = Field(
        None,
        alias="STUDIO_HOST",
        description="Address to listen on; unset means 0.0.0.0 when `PORT` is set (as on Render), else 127.0.0.1.",
    )
    port: int | None = Field(
        None, ge=1, le=65_535, alias="PORT", description="TCP port to listen on; unset means 8000."
    )

    request_timeout_s: float = Field(
        15.0,
        ge=0.5,
        le=600,
        alias="STUDIO_REQUEST_TIMEOUT_S",
        description="Seconds from a request's first byte to its last; slower senders get `request-timeout`.",
    )
    send_timeout_s: float = Field(
        60.0,
        ge=1,
        le=600,
        alias="STUDIO_SEND_TIMEOUT_S",
        description="Seconds in which a caller must take 64 KiB of an answer, again and again; else it is cut off.",
    )

    data_dir: Path = Field(
        Path("data"),
        alias="STUDIO_DATA_DIR",
        description="Folder of the jobs' database and of the finished files; made when it is missing.",
    )
    database_url: SecretStr | None = Field(
        None,
        alias="STUDIO_DATABASE_URL",
        description="`postgresql://user:password@host/name`: keeps jobs in Postgres, which many machines can share. "
        "Without it they are in an SQLite file in `STUDIO_DATA_DIR`.",
    )
    store_url: str | None = Field(
        None,
        alias="STUDIO_STORE_URL",
        description="Where finished files are kept: `s3://bucket/prefix`, `gs://…` or `az://…`. "
        "Unset means a folder in `STUDIO_DATA_DIR`. How to get in is said by the cloud's own variables: `AWS_…`, "
        "`GOOGLE_…`, `AZURE_…`.",
    )
    store_redirects: bool = Field(
        default=False,
        alias="STUDIO_STORE_REDIRECTS",
        description="Whether callers are sent to the bucket for a file, with an address that works for five minutes. "
        "Spares this service the bytes; the bucket must be reachable for callers, and allow the origin of this "
        "service's pages, or any origin if `STUDIO_CORS_ORIGINS` lets others call: browsers do not tell it theirs.",
    )
    store_max_bytes: int = Field(
        2**30,
        ge=2**20,
        alias="STUDIO_STORE_MAX_BYTES",
        description="Bytes that the finished files may take together; beyond them the oldest go first.",
    )
    executor: Literal["embedded", "none"] | None = Field(
        None,
        alias="STUDIO_EXECUTOR",
        description="`embedded`: the web service runs the jobs itself; `none`: `studio worker` processes do, or with "
        "SQLite another web service on the same `STUDIO_DATA_DIR`, and until there is one jobs wait. "
        "Unset means `embedded` with SQLite and `none` with `STUDIO_DATABASE_URL`.",
    )
    job_ttl_s: float = Field(
        86_400.0,
        ge=60,
        le=2_592_000,
        alias="STUDIO_JOB_TTL_S",
        description="Seconds a finished job and its file are kept, and what is told of a training run.",
    )
    job_attempts: int = Field(
        3, ge=1, le=10, alias="STUDIO_JOB_ATTEMPTS", description="Attempts at a job's piece, the first one included."
    )
    job_timeout_s: float = Field(
        600.0, gt=0, le=3_600, alias="STUDIO_JOB_TIMEOUT_S", description="Seconds one attempt of a job may take."
    )
    job_deadline_s: float = Field(
        1_800.0,
        ge=1,
        le=86_400,
        alias="STUDIO_JOB_DEADLINE_S",
        description="Seconds a job may run, from its first attempt to its end, waits between attempts included.",
    )
    job_workers: int = Field(
        4, ge=1, le=64, alias="STUDIO_JOB_WORKERS", description="Jobs that one process runs at the same time."
    )
    job_global_limit: int | None = Field(
        None,
        ge=1,
        le=10_000,
        alias="STUDIO_JOB_GLOBAL_LIMIT",
        description="Jobs that all processes together run at the same time; unset means no such limit.",
    )
    max_queued: int = Field(
        1_000,
        ge=1,
        le=100_000,
        alias="STUDIO_MAX_QUEUED",
        description="Jobs that may wait for a free slot; further ones get `overloaded` at once.",
    )
    api_keys: SecretStr | None = Field(
        None,
        alias="STUDIO_API_KEYS",
        description="Who may use the service: `name:digest`, several separated by commas; `digest` is the SHA-256 of "
        "the caller's key in hexadecimal; `studio keys new NAME` makes a key and the entry for it. Without it everyone "
        "may, and nobody can list jobs.",
    )
    rate_limit: str | None = Field(
        None,
        alias="STUDIO_RATE_LIMIT",
        description="How often each caller may start work, with `POST`: `30/minute`, or up to three such limits "
        "separated by commas (`second`, `minute`, `hour`, `day`). A caller is the name of an API key, or an address. "
        "Unset means no such limit.",
    )
    read_limit: str | None = Field(
        None,
        alias="STUDIO_READ_LIMIT",
        description="The same for all other requests below `/api/`: status, events, audio, cancelling.",
    )
    redis_url: SecretStr | None = Field(
        None,
        alias="STUDIO_REDIS_URL",
        description="`redis://user:password@host:6379/0` (`rediss://` encrypts): where all processes share what they "
        "know of the upstream's health, and count requests together. Without it, and while it is away, each "
        "process does so alone.",
    )
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        alias="STUDIO_TRUSTED_PROXIES",
        description="Proxies in front of this service that add to `X-Forwarded-For`; 2 on Render. Only what these have "
        "written is believed, and with 0 no `X-Forwarded-…` header is.",
    )
    cors_origins: str | None = Field(
        None,
        alias="STUDIO_CORS_ORIGINS",
        description="Origins whose pages may call this service from a browser: `https://example.com`, several "
        "separated by commas, or `*` for all. Unset means none but its own.",
    )
    allowed_hosts: str | None = Field(
        None,
        alias="STUDIO_ALLOWED_HOSTS",
        description="Names that this service answers to, in the header `Host`: `example.com`, `*.example.com` for all "
        "below it, several separated by commas. `/health` and `/ready` answer to any. Unset means any.",
    )
    max_streams: int = Field(
        32,
        ge=1,
        le=1_000,
        alias="STUDIO_MAX_STREAMS",
        description="Streams of job events open at the same time in one process; further ones get `overloaded`. One "
        "caller, by key or else by address, may have half of them, but at least 4.",
    )

    hf_api_url: str | None = Field(
        None,
        alias="HF_API_URL",
        description="The upstream: a Space (`owner/space` or its URL), a Gradio URL down to `/call/NAME`, "
        "an Inference Endpoint, or a router URL. Without it the Hugging Face engine is off.",
    )
    hf_api_name: str | None = Field(
        None,
        max_length=200,
        alias="HF_API_NAME",
        description="The function of a Gradio app (`/predict`, or its number); unset means: the one that makes audio.",
    )
    hf_token: SecretStr | None = Field(
        None, alias="HF_TOKEN", description="Access token; sent to the host of `HF_API_URL` and nowhere else."
    )
    hf_inputs: Annotated[JsonInputs | None, NoDecode] = Field(
        None,
        alias="HF_INPUTS",
        description="Explicit inputs as JSON: a list is Gradio's `data`, an object sets parameters by name "
        "(or is the whole body where there is no signature); `{prompt}`, `{text}`, `{duration}`, `{seed}`, `{mood}`, "
        "`{tempo}`, `{instruments}` are filled in.",
    )
    hf_timeout_s: float = Field(
        60.0,
        gt=0,
        le=600,
        alias="HF_TIMEOUT_S",
        description="Seconds one attempt may take while a caller waits; attempts of jobs have `STUDIO_JOB_TIMEOUT_S`.",
    )
    hf_attempts: int = Field(
        2,
        ge=1,
        le=10,
        alias="HF_ATTEMPTS",
        description="Attempts at most while a caller waits, the first one included; jobs have `STUDIO_JOB_ATTEMPTS`.",
    )
    hf_backoff_s: float = Field(
        2.0,
        ge=0,
        le=60,
        alias="HF_BACKOFF_S",
        description="Seconds between two attempts, lengthened by up to a quarter.",
    )
    hf_connect_timeout_s: float = Field(
        10.0,
        gt=0,
        le=60,
        alias="HF_CONNECT_TIMEOUT_S",
        description="Seconds to open a connection, name lookup included.",
    )
    hf_silence_timeout_s: float = Field(
        45.0,
        gt=0,
        le=600,
        alias="HF_SILENCE_TIMEOUT_S",
        description="Longest silence in an event stream, in seconds; Gradio sends a heartbeat every 15.",
    )

    @field_validator("hf_api_url")
    @classmethod
    def _is_usable_url(cls, url: str | None) -> str | None:
        if url is None or _SPACE_ID.fullmatch(url):
            return url
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable or re.search(r"[\s\x00-\x1f]", url):
            raise ValueError("must be an http(s) URL or owner/space")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("must not carry a user name, password or fragment; put the token into HF_TOKEN")
        return url

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not re.fullmatch(
            r"postgres(ql)?://([^\s\x00-\x1f@\[\]]*@)?[^\s\x00-\x1f@]+", url.get_secret_value()
        ):
            # A password with one of these would be cut off in the middle, and its end be taken for the host's name.
            raise ValueError("must be postgresql://user:password@host/name, with @, [ and ] in the password as %40…")
        return url

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not re.fullmatch(
            r"rediss?://([^\s\x00-\x1f@/?#\[\]]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s\x00-\x1f@/?#:\[\]]+)(:\d{1,5})?([/?][^\s\x00-\x1f@#]*)?",
            url.get_secret_value(),
        ):
            raise ValueError(
                "must be redis://user:password@host:port/number, or the same with rediss://; "
                "with @, /, ?, #, [ and ] in the password as %40, %2F…"
            )
        return url

    @field_validator("fallback")
    @classmethod
    def _names_engines(cls, names: str | None) -> str | None:
        if unknown := [each for each in _listed(names) if each not in get_args(EngineName)]:
            known = " and ".join(get_args(EngineName))
            raise ValueError(f"there is no engine {unknown[0][:40]!r}; there are {known}, separated by commas")
        return names

    @field_validator("api_keys")
    @classmethod
    def _names_each_digest(cls, keys: SecretStr | None) -> SecretStr | None:
        each = rf"{_CALLER}:[0-9a-f]{{64}}"
        if keys and not re.fullmatch(rf"{each}( *, *{each})*", keys.get_secret_value(), re.ASCII):
            raise ValueError("must be name:digest, several separated by commas; a digest is 64 lower-case hex digits")
        return keys

    @field_validator("rate_limit", "read_limit")
    @classmethod
    def _is_limit(cls, limit: str | None) -> str | None:
        if limit is not None and not re.fullmatch(rf"{_LIMIT}( *, *{_LIMIT}){{0,2}}", limit):
            raise ValueError("must be like 30/minute (second, minute, hour, day); up to three, separated by commas")
        return limit

    @field_validator("cors_origins")
    @classmethod
    def _lists_origins(cls, origins: str | None) -> str | None:
        if origins not in (None, "*") and not all(re.fullmatch(_ORIGIN, each) for each in _listed(origins)):
            raise ValueError("must be * or origins like https://example.com, in lower case and without a path")
        return origins

    @field_validator("allowed_hosts")
    @classmethod
    def _lists_hosts(cls, hosts: str | None) -> str | None:
        if hosts is not None and not all(re.fullmatch(_HOST, each) for each in _listed(hosts)):
            raise ValueError("must be names like example.com or *.example.com, in lower case and without a port")
        return hosts

    @field_validator("store_url")
    @classmethod
    def _is_bucket(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"(s3|gs|az)://[\w.-]{1,63}(/[\w./-]{0,500})?", url, re.ASCII):
            raise ValueError("must be s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")
        return url

    @field_validator("hf_token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        if token and not re.fullmatch(r"[\x21-\x7e]{1,512}", token.get_secret_value()):
            raise ValueError("must be printable ASCII without spaces, at most 512 characters")
        return token

    @field_validator("hf_inputs", mode="before")
    @classmethod
    def _is_json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            inputs = json.loads(value)
        except (ValueError, RecursionError):
            inputs = None
        if not isinstance(inputs, list | dict):
            raise ValueError("must be JSON, a list or an object")  # noqa: TRY004 - pydantic reports ValueErrors
        return inputs

    @model_validator(mode="after")
    def _keeps_the_token_off_the_wire(self) -> Self:
        if self.hf_token and self.hf_api_url:
            parts = urlsplit(self.hf_api_url)
            if parts.scheme == "http" and parts.hostname not in _LOOPBACK_HOSTS:
                raise ValueError("HF_API_URL must be https when HF_TOKEN is set, or the token travels in the clear")
        return self

    @model_validator(mode="after")
    def _falls_back_to_others(self) -> Self:
        if self.engine in self.fallback_engines:
            raise ValueError(f"STUDIO_FALLBACK must name other engines than STUDIO_ENGINE, which is {self.engine!r}")
        return self

    @property
    def fallback_engines(self) -> tuple[str, ...]:
        """Return the names of the engines that take over, in order."""
        return _listed(self.fallback)

    @property
    def bind(self) -> str:
        """Return `host:port` to listen on."""
        host = self.host or ("127.0.0.1" if self.port is None else "0.0.0.0")  # noqa: S104 - Render's edge needs it
        return f"[{host}]:{self.port or 8000}" if ":" in host else f"{host}:{self.port or 8000}"

    @property
    def api_key_digests(self) -> tuple[tuple[str, str], ...]:
        """Return the name of each key's caller and the key's SHA-256, in hexadecimal; a caller may have several."""
        entries = self.api_keys.get_secret_value().split(",") if self.api_keys else ()
        return tuple((name.strip(), digest.strip()) for name, _, digest in (each.partition(":") for each in entries))

    @property
    def is_exposed(self) -> bool:
        """Whether others than this machine itself can reach the service."""
        return not self.bind.startswith(("127.", "[::1]:", "localhost:"))

    @property
    def origins(self) -> tuple[str, ...]:
        """Return the origins whose pages may call; `*` alone stands for all."""
        return _listed(self.cors_origins)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the names that are answered to; none stands for all."""
        return _listed(self.allowed_hosts)

    @property
    def runs_jobs(self) -> bool:
        """Whether the web service itself runs jobs."""
        return (self.executor or ("none" if self.database_url else "embedded")) == "embedded"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the values that must never be written anywhere."""
        values = (getattr(self, name) for name in type(self).model_fields)
        secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        # Whoever quotes a part of such an address may quote its password. A short one is left: it may be
        # a word, and then every line with that word would be blotted out.
        urls = [url.get_secret_value() for url in (self.database_url, self.redis_url) if url]
        passwords = [found[1] for url in urls if (found := _PASSWORD.search(url))]
        each_way = (*passwords, *map(unquote, passwords))
        return (*secrets, *(each for each in each_way if len(each) >= _LONG_PASSWORD_CHARS))


_PASSWORD: Final = re.compile(r"^\w+://[^:@]*:(.+)@")
"""What a URL has between the user's name and the last `@`: `urlsplit` finds none where it has a `/` or `#`."""


def is_caller(name: str) -> bool:
    """Tell whether a caller may have this name, in `STUDIO_API_KEYS`."""
    return re.fullmatch(_CALLER, name, re.ASCII) is not None


def _listed(names: str | None) -> tuple[str, ...]:
    """Return what is listed with commas, once each.

    Raises:
        ValueError: that is too much.
    """
    listed = tuple(dict.fromkeys(each.strip() for each in names.split(","))) if names else ()
    if len(listed) > _MOST_NAMES:
        raise ValueError(f"must be at most {_MOST_NAMES}")
    return listed


# Names that others read, the Hub's own libraries and our command line: setting them next to ours is no mistake.
_NAMES_OF_OTHERS = re.compile(
    r"STUDIO_KEY|HF_(HOME|ENDPOINT|TOKEN_PATH|STORED_TOKENS_PATH|ASSETS_CACHE|DEBUG|MODULES_CACHE|OIDC_\w+|"
    r"(HUB|XET|DATASETS|MODULES|INFERENCE|TRANSFER|EVALUATE|METRICS|ACCELERATE|KERNELS)_\w+)"
)


def load() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: naming every variable that cannot be used, and why, without its value.
    """
    known = {_variable(name, field): name for name, field in Settings.model_fields.items()}
    mistakes = []
    for name in sorted(os.environ):
        if name.startswith(("STUDIO_", "HF_")) and name not in known and not _NAMES_OF_OTHERS.fullmatch(name):
            close = difflib.get_close_matches(name, known, n=1)
            mistakes.append(f"{name}: no such setting" + (f"; did you mean {close[0]}?" if close else ""))
    try:
        settings = Settings()
    except ValidationError as error:
        for each in error.errors(include_input=False, include_url=False, include_context=False):
            variable = ".".join(str(part) for part in each["loc"][:1]) or "settings"
            mistakes.append(f"{variable}: {each['msg'].removeprefix('Value error, ')}")
        settings = None
    if mistakes or settings is None:
        raise SettingsError("\n".join(dict.fromkeys(mistakes))) from None
    return settings


def _variable(name: str, field: FieldInfo) -> str:
    return field.alias or name


def markdown_table() -> str:
    """Return every setting as the Markdown of `docs/configuration.md`."""
    lines = ["| variable | default | bounds | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "–" if field.default is None else f"`{_plain(field.default)}`"
        lines.append(f"| `{_variable(name, field)}` | {default} | {_bounds(field) or '–'} | {field.description} |")
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


_BOUND_WORDS: Final = {"ge": "≥", "gt": ">", "le": "≤", "max_length": "length ≤"}


def _bounds(field: FieldInfo) -> str:
    limits = [
        f"{word} {getattr(rule, bound):,}"
        for rule in field.metadata
        for bound, word in _BOUND_WORDS.items()
        if hasattr(rule, bound)
    ]
    choices = (
        getattr(field.annotation, "__args__", ()) if getattr(field.annotation, "__origin__", None) is Literal else ()
    )
    return ", ".join([*limits, *(f"`{choice}`" for choice in choices)])
