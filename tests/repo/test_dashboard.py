"""The dashboard is one that Grafana reads, and asks for metrics that exist.

Source: grafana.com/docs/grafana/latest/visualizations/dashboards/build-dashboards/view-dashboard-json-model, read
2026-11: its classic model, whose last version is 42; Grafana 13 still imports it and converts it.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from metric_samples import labels_by_series
from promql import mistakes, named

ROOT: Final = Path(__file__).parents[2]
DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text("utf-8"))
PANELS: Final[list[dict[str, Any]]] = DASHBOARD["panels"]
ROWS: Final = [panel["title"] for panel in PANELS if panel["type"] == "row"]
QUERIES: Final = [(panel["title"], each["expr"]) for panel in PANELS for each in panel.get("targets", [])]
VARIABLES: Final[dict[str, dict[str, Any]]] = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
COLUMNS: Final = 24
NOT_SHOWN: Final = {"process_virtual_memory_bytes"}


@pytest.mark.parametrize(("title", "expression"), QUERIES, ids=[f"{title}-{n}" for n, (title, _) in enumerate(QUERIES)])
def test_a_query_names_what_exists(title: str, expression: str) -> None:
    assert mistakes(expression, labels_by_series()) == []


def test_every_metric_is_on_it() -> None:
    shown = {each.metric for _, expression in QUERIES for each in named(expression)}

    bare = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    known = {re.sub(r"_(bucket|count|sum)$", "", name) for name in labels_by_series()} - {"up"}
    assert known - bare == NOT_SHOWN


def test_it_has_the_rows_that_the_page_about_operations_goes_through() -> None:
    assert ROWS == [
        "Traffic",
        "Errors by code",
        "Latency",
        "Upstream",
        "Breaker, budget, places",
        "Jobs",
        "Process",
    ]


def test_it_is_grafanas_model() -> None:
    assert DASHBOARD["schemaVersion"] == 42
    assert DASHBOARD["id"] is None, "Grafana numbers what it imports"
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", DASHBOARD["uid"])
    assert DASHBOARD["title"] == "Studio"
    numbers = [panel["id"] for panel in PANELS]
    assert sorted(numbers) == list(range(1, len(PANELS) + 1))


def test_it_works_with_any_prometheus() -> None:
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert [name for name, each in VARIABLES.items() if each["type"] == "datasource"] == ["datasource"]
    for panel in PANELS:
        for each in (panel, *panel.get("targets", [])):
            if panel["type"] != "row":
                assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([PANELS, DASHBOARD["templating"]])))
    assert used == {"datasource", "instance", "__rate_interval", "__all"}
    assert mistakes(re.findall(r"\((\w+),", VARIABLES["instance"]["definition"])[0], labels_by_series()) == []


def test_every_panel_says_what_it_shows() -> None:
    for panel in PANELS:
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        references = [each["refId"] for each in panel["targets"]]
        assert len(set(references)) == len(references) > 0


def test_no_panel_covers_another_one() -> None:
    places = [panel["gridPos"] for panel in PANELS]
    for place in places:
        assert place["x"] >= 0 < place["w"]
        assert place["x"] + place["w"] <= COLUMNS
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, f"{one} and {other}"
