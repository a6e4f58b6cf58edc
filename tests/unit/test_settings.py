"""Settings: read once, all mistakes told at once, and no value of a secret anywhere."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.settings import Settings, SettingsError, load, markdown_table

TOKEN = "hf_" + "aBcD1234" * 4


def mistakes(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, str]:
    """Return what `load` complains about, by variable."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load()
    assert raised.value.__cause__ is None
    return dict(line.split(": ", 1) for line in str(raised.value).splitlines())


def test_without_an_environment_the_defaults_hold() -> None:
    settings = load()

    assert settings.engine == "huggingface"
    assert settings.deadline_s == 125
    assert settings.hf_attempts == 2
    assert settings.hf_timeout_s == 60
    assert settings.hf_backoff_s == 2
    assert settings.hf_api_url is None
    assert settings.secrets == ()


def test_variables_are_read_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_ENGINE", "composer")
    monkeypatch.setenv("STUDIO_MAX_ACTIVE", " 8 ")
    monkeypatch.setenv("HF_INPUTS", '["{prompt}", 10]')
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    settings = load()

    assert (settings.engine, settings.max_active, settings.hf_inputs) == ("composer", 8, ["{prompt}", 10])
    assert settings.secrets == (TOKEN,)


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_API_URL", "HF_TOKEN", "PORT", "STUDIO_ENGINE", "HF_INPUTS", "STUDIO_DEADLINE_S"):
        monkeypatch.setenv(name, "")

    assert load() == Settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load().max_active = 5  # type: ignore[misc]


def test_files_are_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("project")
    (folder / ".env").write_text("STUDIO_ENGINE=composer\n")
    monkeypatch.chdir(folder)

    assert load().engine == "huggingface"


def test_all_mistakes_are_told_at_once_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    told = mistakes(monkeypatch, PORT="http", HF_TIMEOUT_S="0", STUDIO_ENGINE="orchestra", STUDIO_DEADLIN_S="60")

    assert set(told) == {"PORT", "HF_TIMEOUT_S", "STUDIO_ENGINE", "STUDIO_DEADLIN_S"}
    assert told["STUDIO_DEADLIN_S"] == "no such setting; did you mean STUDIO_DEADLINE_S?"


def test_what_the_command_line_reads_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_KEY", "a caller's key")

    load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STUDIO_ENGINE", "Composer"),
        ("STUDIO_DEADLINE_S", "0.5"),
        ("STUDIO_DEADLINE_S", "901"),
        ("STUDIO_DEADLINE_S", "nan"),
        ("STUDIO_DEADLINE_S", "inf"),
        ("STUDIO_MAX_ACTIVE", "0"),
        ("STUDIO_MAX_ACTIVE", "1.5"),
        ("STUDIO_LOG_LEVEL", "info"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("HF_ATTEMPTS", "0"),
        ("HF_BACKOFF_S", "-1"),
        ("HF_API_URL", "ftp://example.org/x"),
        ("HF_API_URL", "just words"),
        ("HF_API_URL", "https://"),
        ("HF_API_URL", "https://[::1"),
        ("HF_API_URL", "https://example.org:99999"),
        ("HF_API_URL", "https://example.org/a b"),
        ("HF_API_URL", "https://example.org/#part"),
        ("HF_INPUTS", "{"),
        ("HF_INPUTS", "3"),
        ("HF_INPUTS", "[" * 100_000),
        ("HF_API_NAME", "x" * 201),
        ("STUDIO_DATABASE_URL", "mysql://user@host/name"),
        ("STUDIO_REDIS_URL", "http://cache"),
        ("STUDIO_REDIS_URL", "redis://:Xk9v/LrT4w@cache"),
        ("STUDIO_REDIS_URL", "redis://:Xk9v#LrT4w@cache"),
        ("STUDIO_REDIS_URL", "redis://:Xk9v?LrT4w@cache"),
        ("STUDIO_REDIS_URL", "redis://:[Xk9vLrT4w@cache"),
        ("STUDIO_REDIS_URL", "redis://:word"),
        ("STUDIO_REDIS_URL", "redis://cache:port"),
        ("STUDIO_DATABASE_URL", "postgresql://user@host/a b"),
        ("STUDIO_STORE_URL", "https://example.org/bucket"),
        ("STUDIO_STORE_URL", "s3://key:secret@bucket"),
        ("STUDIO_STORE_URL", "s3://"),
        ("STUDIO_STORE_MAX_BYTES", "1000"),
        ("STUDIO_EXECUTOR", "elsewhere"),
        ("STUDIO_JOB_TTL_S", "0"),
        ("STUDIO_JOB_ATTEMPTS", "0"),
        ("STUDIO_JOB_TIMEOUT_S", "0"),
        ("STUDIO_JOB_DEADLINE_S", "0"),
        ("STUDIO_JOB_WORKERS", "65"),
        ("STUDIO_JOB_GLOBAL_LIMIT", "0"),
        ("STUDIO_MAX_QUEUED", "0"),
        ("STUDIO_NO_SUCH", "1"),
        ("HF_NO_SUCH", "1"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert set(mistakes(monkeypatch, **{name: value})) == {name}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_TOKEN", "hf_with a space"),
        ("HF_TOKEN", "hf_line\nbreak"),
        ("HF_TOKEN", "hf_" + "x" * 600),
        ("HF_API_URL", "https://user:geheim@example.org/"),
        ("HF_INPUTS", '["geheim"'),
        ("STUDIO_DATABASE_URL", "mysql://user:geheim@host/name"),
    ],
)
def test_a_complaint_never_holds_the_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    told = mistakes(monkeypatch, **{name: value})

    assert set(told) == {name}
    assert "geheim" not in told[name]
    assert "hf_" not in told[name]


def test_a_token_is_not_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    told = mistakes(monkeypatch, HF_TOKEN=TOKEN, HF_API_URL="http://example.org/call/x")

    assert "must be https" in told["settings"]
    assert TOKEN not in str(told)


@pytest.mark.parametrize(
    "url",
    [
        "owner/space",
        "https://owner-space.hf.space",
        "https://owner-space.hf.space/gradio_api/call/predict",
        "https://example.org:8443/x?y=z",
        "http://localhost:7860",
        "http://127.0.0.1:7860",
        "http://[::1]:7860",
    ],
)
def test_an_address_of_any_upstream_is_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HF_API_URL", url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    assert load().hf_api_url == url


@pytest.mark.parametrize("name", ["HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_XET_CACHE", "HF_DATASETS_CACHE"])
def test_names_that_the_hubs_own_tools_read_are_no_mistake(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")

    load()


@pytest.mark.parametrize("show", [repr, str, lambda settings: settings.model_dump_json()])
def test_a_secret_is_not_shown(show: object) -> None:
    assert callable(show)
    assert TOKEN not in show(Settings.model_validate({"HF_TOKEN": TOKEN}))


@pytest.mark.parametrize(
    ("host", "port", "bind"),
    [
        (None, None, "127.0.0.1:8000"),
        (None, 10_000, "0.0.0.0:10000"),
        ("localhost", None, "localhost:8000"),
        ("::", 80, "[::]:80"),
    ],
)
def test_the_address_to_listen_on(host: str | None, port: int | None, bind: str) -> None:
    assert Settings.model_validate({"STUDIO_HOST": host, "PORT": port}).bind == bind


@pytest.mark.parametrize(
    ("executor", "database_url", "runs_jobs"),
    [
        (None, None, True),
        (None, "postgresql://user:geheim@host/name", False),
        ("embedded", "postgres://user:geheim@host/name", True),
        ("none", None, False),
    ],
)
def test_who_runs_the_jobs(executor: str | None, database_url: str | None, runs_jobs: bool) -> None:
    settings = Settings.model_validate({"STUDIO_EXECUTOR": executor, "STUDIO_DATABASE_URL": database_url})

    assert settings.runs_jobs is runs_jobs
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/some/prefix", "gs://bucket/p", "az://container"])
def test_a_bucket_is_named_by_its_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("STUDIO_STORE_URL", url)

    assert load().store_url == url


def test_the_table_has_a_line_for_every_setting() -> None:
    lines = markdown_table().splitlines()

    assert len(lines) == 2 + len(Settings.model_fields)
    assert "| `STUDIO_DEADLINE_S` | `125` | ≥ 1, ≤ 900 |" in markdown_table()
    assert "| `STUDIO_ENGINE` | `huggingface` | `huggingface`, `composer` |" in markdown_table()
    assert "| `HF_TOKEN` | – | – |" in markdown_table()
    assert "| `HF_API_NAME` | – | length ≤ 200 |" in markdown_table()
    assert all(field.description for field in Settings.model_fields.values())
