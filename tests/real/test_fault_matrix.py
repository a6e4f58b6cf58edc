"""Every toxic meets every shape, step and endpoint, and callers get what `docs/faults.md` says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest
from real.matrix import PAGE, TOKEN, Cell, Run, every_cell, page, pairwise

CELLS = pairwise(every_cell())

MOST_GROWTH_BYTES = 96 * 2**20
"""Of the process that serves, with everything that jobs need; a single flood that is not left would be more."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Run(tmp_path_factory.mktemp("matrix")) as started:
        yield started


@pytest.fixture(scope="module")
def verdicts(run: Run) -> Mapping[Cell, Future[None]]:
    """Return what comes of each cell; all are under way, since nearly all of it is waiting."""
    return run.begin(CELLS)


@pytest.mark.real
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_cell_comes_out_as_it_is_published(verdicts: Mapping[Cell, Future[None]], cell: Cell) -> None:
    verdicts[cell].result()


@pytest.mark.real
def test_all_of_it_together_leaves_memory_bounded_and_the_log_clean(
    run: Run, verdicts: Mapping[Cell, Future[None]]
) -> None:
    for verdict in verdicts.values():
        verdict.exception()
    assert run.peak_bytes - run.at_rest_bytes < MOST_GROWTH_BYTES
    assert TOKEN not in run.server.stdout + run.server.stderr
    unforeseen = [line for line in run.server.log if line["level"] in ("error", "critical")]
    assert unforeseen == []


def test_every_pair_occurs_in_the_cells_that_are_run() -> None:
    pairs = {pair for cell in every_cell() for pair in cell.pairs}
    assert {pair for cell in CELLS for pair in cell.pairs} == pairs


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make fault-matrix`"
