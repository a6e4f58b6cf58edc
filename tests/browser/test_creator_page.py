"""The creator page in a real browser, on real servers."""

from __future__ import annotations

import io
import re
import wave
from pathlib import Path
from typing import Final

import pytest
from api_keys import keys as keys_of
from browser.conftest import MOODY, NARROW, Serve, faults, widths
from browser.creator_page import CreatorPage
from playwright.sync_api import Page, expect
from real.programs import Server

pytestmark = pytest.mark.browser

RETRY_MS: Final = 5_000


@pytest.fixture
def creator(page: Page, moody: Server) -> CreatorPage:
    """Return the page of the moody engine, opened."""
    return CreatorPage(page, moody).open()


# ---------------------------------------------------------------------- a song, from the example to the file


def test_the_example_becomes_a_track_that_plays_seeks_and_downloads(page: Page, composer: Server) -> None:
    creator = CreatorPage(page, composer).open()
    creator.create_button.click()
    expect(creator.parts).to_have_count(4)

    creator.play_button.click(timeout=60_000)
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    blocks = creator.timeline.get_by_role("button")
    assert blocks.all_text_contents() == ["Intro", "Verse", "Chorus", "Outro"]
    expect(blocks.nth(0)).to_have_attribute("aria-current", "true")
    blocks.nth(2).press("Enter")
    expect(blocks.nth(2)).to_have_attribute("aria-current", "true")
    expect(blocks.nth(0)).not_to_have_attribute("aria-current", "true")
    position = page.get_by_role("slider", name="Position", exact=True)
    expect(position).to_have_attribute("aria-valuetext", re.compile(r"^0:2\d of 0:40"))

    with page.expect_download() as download:
        creator.stage.get_by_role("link", name="Download WAV").click()
    assert download.value.suggested_filename.endswith("rain-on-the-window.wav")
    with wave.open(io.BytesIO(Path(download.value.path()).read_bytes())) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(40, abs=0.01)
    with page.expect_download() as download, page.expect_request("**/remake"):
        creator.action("Make and download FLAC").click()
    assert Path(download.value.path()).read_bytes().startswith(b"fLaC")


def test_blocks_are_as_wide_as_sections_are_long(creator: CreatorPage) -> None:
    creator.shape("an A", "an A")
    creator.field(2, "Length").fill("9")
    creator.create_button.click()

    expect(creator.play_button).to_be_enabled()
    first, second = (creator.timeline.get_by_role("listitem").nth(index).bounding_box() for index in (0, 1))
    assert first is not None
    assert second is not None
    assert second["width"] / first["width"] == pytest.approx(3, rel=0.05)


def test_thirty_blocks_can_each_be_pressed_on_a_small_phone(creator: CreatorPage) -> None:
    page = creator.page
    page.evaluate(
        """localStorage.setItem("studio.song", JSON.stringify(
             {style: "an A", sections: Array(30).fill({duration: 3})}))"""
    )
    page.set_viewport_size({"width": 320, "height": 640})
    page.reload()
    creator.create_button.click()
    expect(creator.play_button).to_be_enabled(timeout=60_000)

    blocks = creator.timeline.get_by_role("button")
    for number in (2, 17, 30):
        blocks.nth(number - 1).click()
        expect(creator.live).to_contain_text(f"Section {number}, ")
        box = blocks.nth(number - 1).bounding_box()
        assert box is not None
        assert box["width"] >= 24
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_a_section_is_heard_alone_and_silences_the_track(creator: CreatorPage) -> None:
    creator.create("an A", "an A")
    creator.play_button.click()
    expect(creator.page.get_by_role("button", name="Pause", exact=True)).to_be_visible()

    creator.page.get_by_role("button", name="Play B").click()
    expect(creator.page.get_by_role("button", name="Pause B")).to_be_visible()
    expect(creator.play_button).to_be_visible()


def test_a_long_track_is_loaded_when_it_is_played(creator: CreatorPage) -> None:
    asked: list[str] = []
    creator.page.on("request", lambda request: asked.append(request.url))
    creator.shape("an A", "an A")
    for number in (1, 2):
        creator.field(number, "Length").fill("100")
    creator.create_button.click()
    block = creator.timeline.get_by_role("button", name="B")
    block.click()

    address = f"/api/jobs/{creator.song_id}/audio"
    assert not [url for url in asked if url.endswith(address)]
    creator.play_button.click()
    expect(creator.page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    assert [url for url in asked if url.endswith(address)]
    expect(block).to_have_attribute("aria-current", "true")


# ---------------------------------------------------------------------- the draft


def test_sections_are_moved_by_keys_from_anywhere_inside(creator: CreatorPage) -> None:
    keyboard = creator.page.keyboard
    creator.field(2, "Length").focus()
    keyboard.press("Alt+ArrowUp")
    assert creator.names == ["Verse", "Intro", "Chorus", "Outro"]
    expect(creator.field(1, "Length")).to_be_focused()
    expect(creator.live).to_have_text("Verse is section 1 of 4.")
    keyboard.press("Alt+ArrowUp")
    expect(creator.live).to_have_text("Verse is the first section already.")

    creator.strip(1).get_by_role("button", name="Section 1: move Verse").focus()
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    assert creator.names == ["Intro", "Chorus", "Verse", "Outro"]
    expect(creator.strip(3).get_by_role("button", name="Section 3: move Verse")).to_be_focused()
    creator.strip(3).get_by_role("button", name="Move down: Verse").click()
    assert creator.names == ["Intro", "Chorus", "Outro", "Verse"]


def test_sections_are_dragged_by_their_number(creator: CreatorPage) -> None:
    page = creator.page
    page.set_viewport_size({"width": 1280, "height": 1600})
    creator.strip(4).get_by_role("button", name="Section 4").hover()
    page.mouse.down()
    target = creator.strip(1).bounding_box()
    assert target is not None
    page.mouse.move(target["x"] + 30, target["y"] + 10, steps=12)
    page.mouse.up()
    assert creator.names == ["Outro", "Intro", "Verse", "Chorus"]

    page.mouse.move(target["x"] + 30, target["y"] + 900, steps=4)
    assert creator.names == ["Outro", "Intro", "Verse", "Chorus"]

    creator.strip(4).get_by_role("button", name="Section 4").hover()
    page.mouse.down()
    page.mouse.move(target["x"] + 30, target["y"] + 10, steps=12)
    assert creator.names == ["Chorus", "Outro", "Intro", "Verse"]
    page.keyboard.press("Escape")
    page.mouse.move(target["x"] + 30, target["y"] + 20)
    assert creator.names == ["Outro", "Intro", "Verse", "Chorus"]
    page.mouse.up()


def test_sections_are_added_doubled_and_removed_with_a_way_back(creator: CreatorPage) -> None:
    page = creator.page
    page.get_by_role("button", name="Add section").press("Enter")
    expect(creator.field(5, "Name")).to_be_focused()
    page.keyboard.type("Coda")
    creator.strip(3).get_by_role("button", name="Duplicate").click()
    assert creator.names == ["Intro", "Verse", "Chorus", "Chorus", "Outro", "Coda"]
    expect(creator.field(4, "What is special")).to_have_value("fuller, with strings")
    expect(creator.total).to_have_text("1:04 of 10:00")

    creator.strip(2).get_by_role("button", name="Remove").press("Enter")
    assert creator.names == ["Intro", "Chorus", "Chorus", "Outro", "Coda"]
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_focused()
    undo.press("Enter")
    assert creator.names == ["Intro", "Verse", "Chorus", "Chorus", "Outro", "Coda"]
    expect(creator.live).to_have_text("Verse is back.")


def test_a_song_has_thirty_sections_and_ten_minutes(creator: CreatorPage) -> None:
    page = creator.page
    page.evaluate(
        """localStorage.setItem("studio.song", JSON.stringify(
             {style: "an A", sections: [...Array(29).fill({duration: 10}), {duration: 120}]}))"""
    )
    page.reload()
    expect(creator.total).to_have_text("6:50 of 10:00")
    page.get_by_role("button", name="Add section").click()
    expect(creator.live).to_have_text("A song has at most 30 sections.")
    expect(creator.strips).to_have_count(30)
    creator.field(1, "Length").fill("120")
    creator.field(2, "Length").fill("120")
    expect(creator.total).to_have_text("0:30 too long")

    creator.create_button.click()
    expect(page.locator("#sections-error")).to_have_text("This must be at most 600 seconds together.")
    expect(creator.total).to_be_focused()


def test_the_last_section_stays(creator: CreatorPage) -> None:
    creator.shape("an A")
    creator.strip(1).get_by_role("button", name="Remove").click()
    expect(creator.live).to_have_text("A song has at least one section.")


def test_a_reload_keeps_the_draft_and_starting_over_can_be_taken_back(creator: CreatorPage) -> None:
    page = creator.page
    page.get_by_label("Style of the whole song").fill("slow tango")
    page.get_by_label("Key").select_option("Eb minor")
    creator.shape("an A", "with bells")
    creator.field(2, "Energy").select_option("5 driving")

    page.reload()
    expect(page.get_by_label("Style of the whole song")).to_have_value("slow tango")
    expect(page.get_by_label("Key")).to_have_value("Eb minor")
    assert creator.names == ["A", "B"]
    expect(creator.field(2, "What is special")).to_have_value("with bells")
    expect(creator.field(2, "Energy")).to_have_value("5")
    page.get_by_role("button", name="Start over").click()
    assert creator.names == ["Intro", "Verse", "Chorus", "Outro"]
    page.get_by_role("button", name="Undo").click()
    assert creator.names == ["A", "B"]


@pytest.mark.parametrize("draft", ['{"sections":{}}', '{"sections":[null]}', '{"sections":[]}', "[", "7"])
def test_an_odd_draft_in_the_storage_gives_way_to_the_example(creator: CreatorPage, draft: str) -> None:
    take = '[{"id": "1", "prompt": "a", "at": 0, "asked": {}}]'
    creator.page.evaluate(
        "kept => { for (const name in kept) localStorage.setItem(name, kept[name]) }",
        {"studio.song": draft, "studio.songs": take},
    )
    creator.page.reload()
    expect(creator.strips).to_have_count(4)
    expect(creator.songs).to_have_count(0)


def test_a_field_that_is_refused_says_so_in_its_section(creator: CreatorPage) -> None:
    creator.shape("an A", "an A")
    creator.field(2, "Length").fill("1")
    creator.field(2, "Seed").evaluate("input => { input.value = 'many' }")
    creator.create_button.click()

    expect(creator.field(2, "Length")).to_be_focused()
    expect(creator.field(2, "Length")).to_have_attribute("aria-invalid", "true")
    expect(creator.strip(2)).to_contain_text("This must be at least 3.")
    expect(creator.field(2, "Seed")).to_be_visible()
    expect(creator.strip(1).locator("[aria-invalid]")).to_have_count(0)
    creator.field(2, "Length").fill("3")
    creator.field(2, "Seed").fill("7")
    creator.field(2, "Seed").press("Enter")
    expect(creator.songs).to_have_count(0)
    creator.field(2, "What is special").press("Control+Enter")
    expect(creator.play_button).to_be_enabled()


# ---------------------------------------------------------------------- sections that fail


def test_a_section_that_fails_loses_none_of_the_others_and_is_healed(creator: CreatorPage) -> None:
    creator.create("an A", "fickle", "an A")
    failed = creator.parts.nth(1)
    expect(failed).to_contain_text("The music engine did not finish in time.")
    expect(failed).to_contain_text("What probably happened")
    expect(creator.stage).to_contain_text("“B” could not be made. The others are kept.")
    creator.page.get_by_role("button", name="Play A").click()
    expect(creator.page.get_by_role("button", name="Pause A")).to_be_visible()
    first = creator.song_id

    failed.get_by_role("button", name="Try this section again").click()
    expect(creator.play_button).to_be_enabled()
    expect(creator.songs).to_have_count(1)
    assert creator.song_id != first
    for name in ("A", "B", "C"):
        expect(creator.page.get_by_role("button", name=f"Play {name}")).to_be_enabled()


def test_several_missing_sections_are_made_with_one_press(creator: CreatorPage) -> None:
    creator.create("fickle", "an A", "fickle")

    creator.action("Make the 2 missing sections").click()
    expect(creator.play_button).to_be_enabled()


def test_a_section_that_is_there_is_made_again_and_the_song_before_stays(creator: CreatorPage) -> None:
    creator.create("an A", "an A")
    expect(creator.play_button).to_be_enabled()

    creator.action("Make again, with another seed: B").click()
    expect(creator.songs).to_have_count(2)
    expect(creator.play_button).to_be_enabled()
    creator.action("Change it").click()
    seeds = [creator.field(number, "Seed").input_value() for number in (1, 2)]
    assert all(seed.isdigit() for seed in seeds)
    creator.create_button.click()
    expect(creator.songs).to_have_count(3)
    with creator.page.expect_request("**/api/songs") as asked:
        creator.action("Again with other seeds").click()
    assert "seed" not in (asked.value.post_data or "")


def test_a_remake_that_is_refused_leaves_the_song_where_it_is(creator: CreatorPage) -> None:
    creator.page.route("**/remake", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    creator.create("an A", "an A")
    creator.action("Make again, with another seed: B").click()

    expect(creator.parts.nth(1)).to_contain_text("The server answered with an error (502).")
    creator.action("Make again, with another seed: B").click()
    expect(creator.stage.locator(".refused")).to_have_count(1)
    expect(creator.play_button).to_be_enabled()
    expect(creator.songs).to_have_count(1)


def test_a_song_that_is_cancelled_keeps_what_was_ready_and_goes_on(page: Page, serve: Serve) -> None:
    creator = CreatorPage(page, serve(MOODY, TEST_ENGINE_TAKES_S="60")).open()
    creator.create("an A", "slow")
    expect(creator.page.get_by_role("button", name="Play A")).to_be_enabled()
    expect(creator.parts.nth(1)).to_contain_text("Composing slowly…")

    creator.action("Cancel").click()
    expect(creator.stage).to_contain_text("It was stopped before it was done. What was ready is kept.")
    expect(creator.songs.first).to_contain_text("cancelled")
    expect(creator.stage).to_be_focused()
    expect(creator.page.get_by_role("button", name="Play A")).to_be_enabled()
    creator.action("Make the missing section").click()
    expect(creator.parts.nth(1)).to_contain_text("Composing slowly…")


# ---------------------------------------------------------------------- while it runs, and afterwards


def test_a_reload_picks_up_the_song(creator: CreatorPage) -> None:
    creator.create("an A", "slow")
    expect(creator.parts.nth(1)).to_contain_text("Composing slowly…")

    creator.page.reload()
    expect(creator.parts.nth(1)).to_contain_text("Composing slowly…")
    expect(creator.play_button).to_be_enabled()
    expect(creator.songs.first).to_contain_text("ready")


def test_what_plays_goes_on_while_the_rest_is_made(creator: CreatorPage) -> None:
    creator.create("an A", "slow")
    button = creator.page.get_by_role("button", name=re.compile("(Play|Pause) A"))
    button.click()
    expect(button).to_have_attribute("aria-label", "Pause A")

    expect(creator.play_button).to_be_enabled()
    expect(button).to_be_focused()


def test_five_failing_polls_are_enough_and_asking_again_finds_the_song(creator: CreatorPage) -> None:
    page = creator.page
    page.clock.install()
    page.route("**/api/status/*", lambda route: route.abort())
    creator.create("an A", "an A")

    for failures in range(1, 5):
        expect(creator.stage).to_contain_text(f"Server issue, retrying… ({failures}/5)")
        expect(creator.live).to_contain_text(f"Server issue, retrying… ({failures}/5)")
        page.clock.run_for(RETRY_MS)
    expect(creator.stage).to_contain_text("the job may well be done")
    expect(creator.stage).to_contain_text(creator.song_id)
    page.unroute_all()
    creator.action("Check again").click()
    expect(creator.play_button).to_be_enabled()


def test_an_expired_song_says_so_and_can_be_used_again(creator: CreatorPage, moody: Server) -> None:
    creator.create("an A", "an A")
    expect(creator.play_button).to_be_enabled()
    assert moody.request("DELETE", f"/api/jobs/{creator.song_id}").status == 204
    creator.shape("another")
    creator.field(1, "Name").fill("C")

    creator.page.reload()
    expect(creator.songs.first).to_contain_text("expired")
    creator.action("Use it again").click()
    assert creator.names == ["A", "B"]
    creator.page.get_by_role("button", name="Undo").click()
    assert creator.names == ["C"]
    creator.action("Remove from the list").click()
    expect(creator.songs).to_have_count(0)


def test_a_key_is_asked_for_and_the_song_is_made_with_it(page: Page, serve: Serve) -> None:
    creator = CreatorPage(page, serve(MOODY, **keys_of(nina="right"))).open()
    page.get_by_label("API key", exact=True).fill("right")
    page.keyboard.press("Enter")
    creator.create("an A", "an A")

    creator.page.get_by_role("button", name="Play B").click()
    expect(creator.page.get_by_role("button", name="Pause B")).to_be_visible()
    with page.expect_download() as download:
        creator.stage.get_by_role("link", name="Download WAV").click()
    assert Path(download.value.path()).read_bytes().startswith(b"RIFF")


def test_a_key_that_is_given_later_is_early_enough(page: Page, serve: Serve) -> None:
    creator = CreatorPage(page, serve(MOODY, **keys_of(nina="right"))).open()
    page.get_by_label("API key", exact=True).fill("right")
    page.keyboard.press("Enter")
    creator.create("an A")
    expect(creator.play_button).to_be_enabled()
    page.evaluate("sessionStorage.clear()")
    page.reload()
    page.get_by_role("button", name="Not now").click()
    expect(creator.songs.first).to_contain_text("no answer")

    creator.create_button.click()
    page.get_by_label("API key", exact=True).fill("right")
    page.keyboard.press("Enter")
    for number in (0, 1):
        expect(creator.songs.nth(number)).to_contain_text("ready")


# ---------------------------------------------------------------------- for everybody


def test_axe_finds_no_fault_in_light_and_dark(creator: CreatorPage) -> None:
    page = creator.page
    page.get_by_text("Mood, instruments, seed, format").click()
    creator.strip(1).get_by_text("Mood, instruments, seed").click()
    creator.strip(4).get_by_role("button", name="Remove").click()
    creator.field(2, "Length").fill("1")
    creator.create_button.click()
    expect(creator.field(2, "Length")).to_be_focused()
    assert faults(page) == []

    creator.create("slow", "fickle", "an A")
    expect(creator.parts.nth(1)).to_contain_text("What probably happened")
    assert faults(page) == []
    creator.parts.nth(1).get_by_role("button", name="Try this section again").click()
    expect(creator.play_button).to_be_enabled()
    assert faults(page) == []


def test_nothing_is_cut_off_on_narrow_screens(creator: CreatorPage) -> None:
    creator.shape("an A", "fickle", "w" * 200)
    creator.field(3, "Name").fill("w" * 60)
    creator.create_button.click()
    expect(creator.parts.nth(1)).to_contain_text("What probably happened")
    assert widths(creator.page) == [*NARROW]
    creator.action("Try this section again").click()
    expect(creator.play_button).to_be_enabled()
    assert widths(creator.page) == [*NARROW]


def test_the_pages_lead_to_each_other(creator: CreatorPage) -> None:
    page = creator.page
    expect(page.get_by_role("link", name="Songs")).to_have_attribute("aria-current", "page")
    page.get_by_role("navigation").get_by_role("link", name="Studio").click()
    expect(page.get_by_role("link", name="Studio")).to_have_attribute("aria-current", "page")
    page.get_by_role("link", name="Songs").click()
    expect(creator.strips).to_have_count(4)
