"""Whole songs on a real DBOS: sections that are made, fail, are cancelled or lost, and what comes of the song."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from fakes import TONE, FakeEngine, Outcome
from job_shop import Shop, wait_for

from app.audio import prove
from app.engines.engine import Brief
from app.errors import PromptRefused, UpstreamTimeout
from app.jobs.job import Job
from app.jobs.song import Section, SongRequest
from app.jobs.workflow import PieceQueue


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("songs"))
    shop.executor.start()
    wait_for(lambda: shop.executor.health() is None)
    yield shop
    shop.executor.stop()
    shop.executor.join(20)
    shop.parts.database.close()


Outcomes = tuple[Outcome, ...]


def submit(
    shop: Shop, *sections: Outcomes, format: str = "wav", while_working: Callable[[], object] = lambda: None
) -> str:
    """Submit a song whose sections come to these, attempt by attempt, and return its id."""
    made = []
    for number, outcomes in enumerate(sections, start=1):
        prompt = f"section {next(shop.numbers)}"
        shop.script.engines[prompt] = FakeEngine(*outcomes, while_working=while_working)
        made.append(Section(f"Part {number}", Brief(prompt, 3.0 + number, seed=number)))
    request = SongRequest(tuple(made), seed=1, format=format)  # type: ignore[arg-type]
    return shop.parts.jobs.submit_song(request, owner="", request_id="r").job.id


def sections(shop: Shop, song_id: str) -> dict[int, Job]:
    return shop.parts.jobs.sections(song_id)


@pytest.mark.parametrize("format", ["wav", "mp3"])
def test_the_sections_become_one_track(shop: Shop, format: str) -> None:
    song = shop.end(submit(shop, (TONE,), (TONE,), (TONE,), format=format))

    assert (song.status, song.message) == ("succeeded", "The song is ready.")
    assert song.result
    track = prove(b"".join(shop.parts.jobs.read(song.result)))
    assert track.format == format
    assert track.duration_s == pytest.approx(4 + 5 + 6, abs=0.1)
    assert (song.result.seed, song.attempt) == (1, 1)


def test_a_section_is_tried_again_like_any_piece(shop: Shop) -> None:
    song = shop.end(submit(shop, (TONE,), (UpstreamTimeout(), TONE)))

    assert song.status == "succeeded"
    assert sections(shop, song.id)[2].attempt == 2


def test_a_section_that_fails_ends_the_song_and_loses_no_other(shop: Shop) -> None:
    song = shop.end(submit(shop, (TONE,), (PromptRefused("Too loud."),), (TONE,)))

    assert (song.status, song.retryable) == ("failed", False)  # the same prompt would be refused again
    assert song.message == "“Part 2” could not be made. The others are kept."
    assert song.error
    assert song.error["code"] == "prompt-refused"
    made = sections(shop, song.id)
    assert [made[number].status for number in (1, 2, 3)] == ["succeeded", "failed", "succeeded"]
    assert made[1].result
    assert b"".join(shop.parts.jobs.read(made[1].result))


def test_what_was_missing_is_made_again(shop: Shop) -> None:
    song = shop.end(submit(shop, (TONE,), (PromptRefused("Too loud."),)))
    shop.script.engines[sections(shop, song.id)[2].brief.prompt] = FakeEngine(TONE)

    again = shop.end(shop.parts.jobs.again(song, owner="", request_id="r").job.id)

    assert again.status == "succeeded"
    assert sections(shop, again.id)[1].id == sections(shop, song.id)[1].id
    assert shop.job(song.id).status == "failed"  # what it was stays so


def test_a_cancelled_section_ends_the_song_and_loses_no_other(shop: Shop) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(15)

    song_id = submit(shop, (TONE,), (TONE,), while_working=work)
    assert begun.wait(15)
    shop.parts.jobs.cancel(sections(shop, song_id)[2].id)
    go_on.set()

    song = shop.end(song_id)

    assert (song.status, song.message) == ("failed", "“Part 2” could not be made. The others are kept.")
    assert song.error
    assert song.error["code"] == "cancelled"
    assert sections(shop, song_id)[1].status == "succeeded"


def test_a_cancelled_song_is_over_when_its_sections_are(shop: Shop) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(15)

    song_id = submit(shop, (TONE,), (TONE,), while_working=work)
    assert begun.wait(15)
    assert shop.parts.jobs.cancel(song_id).message == "Cancelling…"
    go_on.set()

    assert shop.end(song_id).status == "cancelled"
    made = sections(shop, song_id)
    assert made[1].status == "cancelled"
    assert all(each.is_final for each in made.values())


def test_a_section_whose_file_is_lost_is_told(shop: Shop) -> None:
    song = shop.end(submit(shop, (TONE,)))
    (first,) = sections(shop, song.id).values()
    assert first.result
    shop.parts.store.delete(first.result.file)

    again = shop.end(
        shop.parts.jobs.submit_song(
            SongRequest((*song.request.sections, song.request.sections[0]), seed=1),  # type: ignore[union-attr]
            owner="",
            request_id="r",
            made={1: first.id},
        ).job.id
    )

    assert (again.status, again.error and again.error["code"]) == ("failed", "result-lost")


def test_a_section_that_does_not_play_any_more_ends_the_song(shop: Shop) -> None:
    """As when its file was exchanged on the disk: the digest tells."""
    song = shop.end(submit(shop, (TONE,)))
    (first,) = sections(shop, song.id).values()
    assert first.result
    shop.parts.store.put(first.result.file, b"RIFF and nothing more")

    again = shop.end(shop.parts.jobs.again(song, owner="", request_id="r").job.id)

    assert (again.status, again.error and again.error["code"]) == ("failed", "result-lost")


def test_a_song_in_the_list_hides_its_sections(shop: Shop) -> None:
    song = shop.end(submit(shop, (TONE,), (TONE,)))

    listed, _ = shop.parts.jobs.page(None, limit=100)

    ids = {job.id for job in listed}
    assert song.id in ids
    assert not ids & {each.id for each in sections(shop, song.id).values()}


def test_handing_a_song_on_once_more_changes_nothing(shop: Shop) -> None:
    song = shop.end(submit(shop, (TONE,), (TONE,)))

    queue = PieceQueue(shop.parts.database)
    with shop.writing() as connection:
        for _ in range(2):
            queue.enqueue_song(connection, song.id)

    shop.end(submit(shop, (TONE,)))
    assert shop.job(song.id) == song
