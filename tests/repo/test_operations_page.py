"""What docs/operations.md tells an operator to look for exists, and what it says to run works."""

from __future__ import annotations

import re
import runpy
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from metric_samples import labels_by_series
from promql import mistakes

from app.errors import catalogue
from app.settings import Settings

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "operations.md").read_text("utf-8")
CODE: Final = "".join(path.read_text("utf-8") for path in sorted((ROOT / "app").rglob("*.py")))
YAML: Final = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
RULES: Final[list[dict[str, Any]]] = [
    rule for block in YAML for group in block.get("groups", []) for rule in group["rules"]
]
UNCOUNTED: Final = re.compile(r"_(bucket|count|sum|info)$")


def table(after: str) -> list[list[str]]:
    """Return the cells of the first table after the text, without its heading."""
    lines = PAGE[PAGE.index(after) :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alarm_is_about_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for"}
    assert mistakes(rule["expr"], labels_by_series()) == []
    assert re.fullmatch(r"\d+m", rule.get("for", "0m"))


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alarm_asks_for_values_that_are_there(rule: dict[str, Any]) -> None:
    codes = {"ok", *(row.code() for row in catalogue())}
    values = dict(re.findall(r'(\w+)="([^"]*)"', rule["expr"]))

    assert values.get("code", "ok") in codes
    assert values.get("outcome", "ok") in codes
    assert values.get("route", "/studio-generate") == "/studio-generate"
    assert values.get("state", "open") in {"open", "closed", "half-open"}
    assert values.get("result", "ok") in {"ok", "failed"}
    assert values.get("job", "studio") == YAML[0]["scrape_configs"][0]["job_name"]


def test_each_alarm_says_what_it_means_and_what_to_do() -> None:
    rows = table("| alarm |")

    assert [quoted(alarm) for alarm, _, _ in rows] == [[rule["alert"]] for rule in RULES]
    assert all(means and do for _, means, do in rows)


def test_the_metrics_are_those_that_are_told() -> None:
    known: dict[str, frozenset[str]] = {}
    for series, labels in labels_by_series().items():
        if series.startswith("studio_"):
            name = series if series.endswith("_info") else UNCOUNTED.sub("", series)
            known[name] = labels - {"le"}

    assert {name: frozenset(quoted(labels)) for names, labels, _ in table("| metric |") for name in quoted(names)} == {
        **known,
        "process_…": frozenset(),
    }


def test_the_log_lines_are_those_that_are_written() -> None:
    for event, fields in table("| `event` |"):
        (name,) = quoted(event)
        assert f'"{name}"' in CODE, name
        for field in quoted(fields):
            if field != "traceback":  # made of `exc_info`
                assert re.search(rf"\b{field}=", CODE), f"{name}: {field}"
    for name in ("executor failed", "wrong API key", "unforeseen exception"):
        assert f"`{name}`" in PAGE
        assert f'"{name}"' in CODE


def test_the_settings_exist() -> None:
    ours = {field.alias for field in Settings.model_fields.values()}
    named = set(re.findall(r"`((?:STUDIO|HF)_[A-Z_]+)", PAGE))

    assert named
    assert named <= ours


@pytest.mark.parametrize(("active", "streams"), [(1, 1), (32, 64), (64, 10), (100, 64), (2_000, 500)])
def test_the_threads_and_the_memory_of_slow_readers_are_those_that_are_told(
    active: int, streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (formula,) = re.findall(r"Threads are `([^`]+)`", PAGE)
    (each_mb, least_mb) = re.findall(
        r"may hold (\d+) MB for each of `STUDIO_MAX_ACTIVE` together, and (\d+) MB at", PAGE
    )[0]
    values = {"STUDIO_MAX_ACTIVE": active, "STUDIO_MAX_STREAMS": streams}
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.syspath_prepend(str(ROOT))

    server = runpy.run_path(str(ROOT / "gunicorn.conf.py"))

    limits = server["StudioWorker"].limits
    assert server["threads"] == eval(formula, {"max": max}, values)  # noqa: S307 - our own page
    assert limits.max_slow_bytes == max(int(each_mb) * active, int(least_mb)) * 1_000_000
    # Were these more than gunicorn accepts, it would stop to accept before anybody is refused.
    assert server["worker_connections"] >= server["threads"] + limits.max_waiting + limits.max_queued
    assert active + limits.max_slow_readers + streams < server["threads"]


def test_the_backup_is_whole(tmp_path: Path) -> None:
    (command,) = re.findall(r"```sh\n(\.venv/bin/python -c .*?)\n```", PAGE)
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data" / "studio.sqlite")) as running:
        running.execute("PRAGMA journal_mode=WAL")
        running.execute("CREATE TABLE kept (value TEXT)")
        running.execute("INSERT INTO kept VALUES ('still in the log')")
        running.commit()

        program = [sys.executable, *shlex.split(command)[1:]]
        subprocess.run(program, cwd=tmp_path, check=True, timeout=30)

    with closing(sqlite3.connect(tmp_path / "backup.sqlite")) as copy:
        assert copy.execute("SELECT value FROM kept").fetchall() == [("still in the log",)]
