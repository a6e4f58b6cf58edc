"""The benchmark compares like with like: every contender that is here starts and gives the same audio."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.audio import prove
from bench import report
from bench.client import Result
from bench.contenders import CONTENDERS, STUDIO, NotAvailable, bare_flask
from bench.parts import PARTS
from bench.report import Goal
from bench.rounds import run_rounds
from bench.samples import SAMPLES, SHORT, Sample
from bench.site import Caller, Site, open_site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_site(build=False) as opened:
        yield opened


@pytest.mark.real
@pytest.mark.parametrize("name", CONTENDERS)
def test_a_contender_gives_the_audio_of_the_upstream(site: Site, name: str) -> None:
    try:
        caller = site.start(name, CONTENDERS[name], SHORT)  # which compares the audio, bit by bit
    except NotAvailable as error:
        pytest.skip(str(error))

    result = caller.load(clients=2, requests=4, warm_up=2)

    assert len(result.times_s) == 4
    assert result.failures == {}
    assert len(result.answer_bytes) == 1


@pytest.mark.real
def test_the_client_counts_what_is_no_good_answer(site: Site) -> None:
    program, _ = site.timed_start(bare_flask)
    broken = Caller("no such route", program.port, "/nowhere", program)

    result = broken.load(clients=2, requests=6, warm_up=0)

    assert result.times_s == []
    assert result.failures == {"404": 6}


@pytest.mark.real
def test_an_upstream_that_hangs_up_counts_who_came() -> None:
    with open_site(hangs_up=True, build=False) as site:
        result = site.direct(SHORT).load(clients=1, requests=3, warm_up=0)

        assert result.failures == {"ConnectionError": 3}
        assert site.counts()["requests"] == 3


@pytest.mark.real
def test_rounds_alternate_and_refuse_failures(site: Site) -> None:
    direct = site.direct(SHORT)

    figures = run_rounds([direct], clients=2, rounds=2, requests={direct.name: 5})[direct.name]

    assert [len(each.times_s) for each in figures.rounds] == [5, 5]
    assert 0 < figures.p50_ms <= figures.p99_ms
    program, _ = site.timed_start(bare_flask)
    broken = Caller("broken", program.port, "/nowhere", program)
    with pytest.raises(RuntimeError, match="404"):
        run_rounds([broken], clients=1, rounds=1, requests={"broken": 1})


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.path)
def test_the_samples_are_what_this_service_proves_to_play(sample: Sample) -> None:
    assert prove(sample.wav()).duration_s == pytest.approx(sample.duration_s)


def test_a_goal_is_met_at_its_limit_and_missed_beyond() -> None:
    assert Goal("x", 2.0, "at most", 2.0).met
    assert not Goal("x", 2.001, "at most", 2.0).met
    assert Goal("x", 2.0, "at least", 2.0).met
    assert not Goal("x", 1.999, "at least", 2.0).met
    assert Goal("x", None, "at least", 2.0).met is None


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]

    assert report.percentile(values, 50) == 50
    assert report.percentile(values, 99) == 99
    assert report.percentile(values, 100) == 100
    assert report.percentile([7.0], 99) == 7


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.01234, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,234")]
)
def test_figures_have_three_digits_that_count(value: float, text: str) -> None:
    assert report.figure(value) == text


def test_throughput_counts_good_answers_only() -> None:
    assert Result([0.1, 0.1], elapsed_s=0.5, failures={"503": 8}).per_second == 4


def test_the_page_has_a_place_for_every_part() -> None:
    page = report.PAGE.read_text(encoding="utf-8")

    for part in PARTS:
        assert report.with_section(page, part, "new").count(f"<!-- begin {part} -->\n\nnew\n\n<!-- end {part} -->") == 1
    with pytest.raises(ValueError, match="no markers"):
        report.with_section(page, "z", "new")


def test_this_service_is_a_contender() -> None:
    assert STUDIO in CONTENDERS
