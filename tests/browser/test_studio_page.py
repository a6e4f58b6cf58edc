"""The studio page in a real browser, on real servers."""

from __future__ import annotations

import io
import json
import re
import wave
from pathlib import Path
from typing import Final

import pytest
from api_keys import keys as keys_of
from browser.conftest import COMPOSER, MOODY, NARROW, Serve, faults, widths
from browser.studio_page import StudioPage
from playwright.sync_api import Page, Route, expect
from real.programs import Server, wait_for

pytestmark = pytest.mark.browser

RETRY_MS: Final = 5_000
SUBMIT_ATTEMPTS: Final = 3
SUBMIT_RETRY_MS: Final = 2_000
PROBLEM: Final = "application/problem+json"


@pytest.fixture
def studio(page: Page, moody: Server) -> StudioPage:
    """Return the page of the moody engine, opened."""
    return StudioPage(page, moody).open()


# ---------------------------------------------------------------------- a piece, from prompt to file


def test_a_piece_is_generated_played_and_downloaded(page: Page, composer: Server) -> None:
    studio = StudioPage(page, composer).open()
    studio.generate("calm piano", tempo="90", mood="calm", seed="7")

    studio.play_button.click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("slider", name="Position")).to_have_attribute("aria-valuetext", "0:01 of 0:10")
    expect(studio.stage).to_contain_text("90 BPM")
    with page.expect_download() as download:
        studio.stage.get_by_role("link", name="Download WAV").click()
    assert download.value.suggested_filename.endswith(".wav")
    with wave.open(io.BytesIO(Path(download.value.path()).read_bytes())) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(10, abs=0.1)


def test_the_waveform_is_that_of_the_file(studio: StudioPage) -> None:
    studio.generate("an A")
    expect(studio.play_button).to_be_enabled()

    # A tone is as loud everywhere: where the quiet tape shows nothing, its picture has ink.
    inked = """canvas => {
      const { width, height } = canvas;
      const row = canvas.getContext("2d").getImageData(0, Math.floor(height * 0.2), width, 1).data;
      return row.filter((each, at) => at % 4 === 3 && each > 0).length / width;
    }"""
    expect(studio.stage.locator("canvas")).to_be_visible()
    # Not with `wait_for_function`, which the page's policy forbids to evaluate text.
    wait_for(lambda: studio.stage.locator("canvas").evaluate(inked) > 0.3)


def test_the_same_piece_is_had_in_another_format(page: Page, composer: Server) -> None:
    studio = StudioPage(page, composer).open()
    studio.generate("calm piano", seed="7")

    with page.expect_download() as download:
        studio.action("Make and download MIDI notes").click()

    assert Path(download.value.path()).read_bytes().startswith(b"MThd")
    link = studio.stage.get_by_role("link", name="Download MIDI notes")
    expect(link).to_be_visible()
    studio.generate("calm piano", seed="8")
    expect(studio.play_button).to_be_enabled()
    expect(link).to_have_count(0)
    studio.takes.nth(1).get_by_role("button", name="calm piano ready").click()
    expect(link).to_be_visible()


def test_again_with_another_seed_and_the_same_again(studio: StudioPage) -> None:
    studio.generate("an A", seed="7")
    expect(studio.stage).to_contain_text("Seed7")

    studio.action("Same again").click()
    expect(studio.takes).to_have_count(2)
    expect(studio.stage).to_contain_text("Seed7")
    studio.action("Again with another seed").click()
    expect(studio.takes).to_have_count(3)
    expect(studio.stage).to_contain_text("Seed")
    expect(studio.stage).not_to_contain_text(re.compile(r"Seed7(?!\d)"))


def test_what_was_typed_is_not_lost(studio: StudioPage) -> None:
    page = studio.page
    studio.prompt.fill("a tango")
    page.get_by_role("button", name="calm piano at dusk").click()
    expect(studio.prompt).to_have_value("calm piano at dusk")
    page.keyboard.press("Control+z")
    expect(studio.prompt).to_have_value("a tango")
    page.locator("#duration").fill("12")
    page.reload()
    expect(studio.prompt).to_have_value("a tango")
    expect(page.locator("#duration-value")).to_have_text("12 s")

    studio.prompt.press("Control+Enter")
    expect(studio.takes).to_have_count(1)
    expect(studio.action("Change it")).to_be_visible()
    studio.prompt.fill("a waltz")
    studio.action("Change it").click()
    expect(studio.prompt).to_have_value("a tango")
    page.get_by_role("button", name="Undo").click()
    expect(studio.prompt).to_have_value("a waltz")


def test_all_of_it_works_with_the_keyboard_alone(studio: StudioPage) -> None:
    keyboard = studio.page.keyboard
    keyboard.press("Tab")
    expect(studio.page.get_by_role("link", name="Skip to the form")).to_be_focused()
    keyboard.press("Enter")
    expect(studio.prompt).to_be_focused()
    keyboard.type("an A")
    while not studio.page.evaluate("document.activeElement.id === 'duration'"):
        keyboard.press("Tab")
    keyboard.press("ArrowRight")
    expect(studio.page.locator("#duration-value")).to_have_text("11 s")
    while not studio.page.evaluate("document.activeElement.id === 'generate'"):
        keyboard.press("Tab")
    keyboard.press("Enter")

    expect(studio.play_button).to_be_enabled()
    keyboard.press("Tab")
    expect(studio.page.get_by_role("slider", name="Position")).to_be_focused()
    keyboard.press("End")
    expect(studio.page.get_by_role("slider", name="Position")).to_have_attribute("aria-valuetext", "0:05 of 0:05")
    keyboard.press("Home")
    keyboard.press("ArrowRight")
    expect(studio.page.get_by_role("slider", name="Position")).to_have_attribute("aria-valuetext", "0:01 of 0:05")
    keyboard.press("Tab")
    keyboard.press("Space")
    expect(studio.page.get_by_role("button", name="Pause")).to_be_visible()


def test_what_is_refused_leaves_the_piece_on_the_stage(studio: StudioPage) -> None:
    studio.generate("an A")
    expect(studio.stage).to_contain_text("5 s (10 s asked)")
    studio.page.route("**/api/jobs", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    for _ in range(2):
        studio.action("Again with another seed").click()
        expect(studio.page.get_by_role("status")).to_contain_text("(502)")

    expect(studio.stage.locator(".refused")).to_have_count(1)
    expect(studio.play_button).to_be_enabled()


def test_what_the_api_says_is_text_and_never_html(studio: StudioPage) -> None:
    prompt = "<img src=x onerror=alert(1)> kazoo"
    studio.generate(prompt)

    expect(studio.stage.get_by_role("heading", name=prompt)).to_be_visible()
    expect(studio.stage.get_by_role("list", name="Remarks")).to_contain_text("<b>kazoo</b>")
    expect(studio.page.locator("main img, main b")).to_have_count(0)


def test_a_file_that_stops_coming_says_so(studio: StudioPage) -> None:
    page = studio.page
    page.clock.install()
    page.evaluate(
        """() => {
             const real = fetch;
             const half = (request) => new ReadableStream({ start(file) {
               file.enqueue(new Uint8Array(4e6));
               request.signal.addEventListener("abort", () => file.error(new Error("aborted")));
             }});
             const stall = (request) => new Response(half(request), { headers: { "Content-Length": "10000000" } });
             window.fetch = async (request) => request.url.endsWith("/audio") ? stall(request) : real(request);
           }"""
    )
    studio.generate("an A")
    expect(studio.stage).to_contain_text("Loading… 40 %")
    page.clock.run_for(30_000)
    expect(studio.stage).to_contain_text("The file stopped coming after 4.0 MB.")


# ---------------------------------------------------------------------- while it runs


def test_a_running_job_is_told_of_and_cancelled(page: Page, serve: Serve) -> None:
    studio = StudioPage(page, serve(MOODY, TEST_ENGINE_TAKES_S="60")).open()
    studio.generate("slow")

    expect(studio.stage).to_contain_text("Composing slowly…")
    expect(studio.stage.get_by_role("progressbar", name="Progress")).to_have_attribute("value", re.compile(r"0\.\d+"))
    expect(page.get_by_role("status")).to_have_text("“slow”: Composing slowly…")
    studio.action("Cancel").click()
    expect(studio.stage).to_contain_text("It was stopped before it was done.")
    expect(studio.takes.first).to_contain_text("cancelled")
    expect(studio.stage).to_be_focused()


def test_who_waits_is_told_how_many_are_ahead(page: Page, serve: Serve) -> None:
    server = serve(MOODY, TEST_ENGINE_TAKES_S="60", STUDIO_JOB_WORKERS="1")
    studio = StudioPage(page, server).open()
    for _ in range(2):
        assert server.request("POST", "/api/jobs", body=b'{"prompt": "slow"}').status == 202
    studio.generate("an A")

    expect(studio.stage).to_contain_text("Waiting for a free slot, 1 ahead")
    expect(studio.stage).to_contain_text("1 ahead · moody")


def test_another_engine_that_steps_in_is_named(page: Page, serve: Serve) -> None:
    studio = StudioPage(page, serve(MOODY, STUDIO_FALLBACK="composer")).open()
    studio.generate("timeout")

    expect(studio.stage).to_contain_text("Another engine stepped in (composer), because of: upstream-timeout")
    expect(studio.play_button).to_be_enabled()


def test_a_killed_server_that_comes_back_finishes_the_job(page: Page, serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = serve(MOODY, data=data)
    studio = StudioPage(page, server).open()
    studio.generate("slow")
    expect(studio.stage).to_contain_text("Composing slowly…")

    server.kill()
    expect(studio.stage).to_contain_text("Server issue, retrying… (1/5)")
    serve(MOODY, data=data, port=server.port)

    expect(studio.play_button).to_be_enabled(timeout=60_000)
    expect(studio.takes.first).to_contain_text("ready")


def test_five_failing_polls_are_enough_and_asking_again_finds_the_job(studio: StudioPage) -> None:
    page = studio.page
    page.clock.install()
    for asked in ("**/api/status/*", "**/api/jobs/*/events"):
        page.route(asked, lambda route: route.abort())
    studio.generate("an A")

    for failures in range(1, 5):
        expect(studio.stage).to_contain_text(f"Server issue, retrying… ({failures}/5)")
        expect(page.get_by_role("status")).to_contain_text(f"Server issue, retrying… ({failures}/5)")
        page.clock.run_for(RETRY_MS)
    expect(studio.stage).to_contain_text("the job may well be done")
    expect(studio.stage).to_contain_text(studio.take_id)
    page.unroute_all()
    studio.action("Check again").click()
    expect(studio.play_button).to_be_enabled()


def test_nobody_waits_an_hour_for_a_question_unasked(studio: StudioPage) -> None:
    page = studio.page
    waits_s = iter([40, 3000])

    def refuse(route: Route) -> None:
        problem = {"title": "Too many requests.", "code": "rate-limited", "status": 429, "retry_after": next(waits_s)}
        route.fulfill(status=429, content_type=PROBLEM, json=problem)

    page.clock.install()
    page.route("**/api/status/*", refuse)
    studio.generate("an A")
    expect(studio.stage).to_contain_text("Server issue, retrying in 40 s… (1/5)")
    page.clock.run_for(40_000)
    expect(studio.stage).to_contain_text("Worth asking again in about 50 minutes, at ")
    page.unroute_all()
    studio.action("Check again").click()
    expect(studio.play_button).to_be_enabled()


def test_without_events_the_job_is_asked_for(studio: StudioPage) -> None:
    studio.page.route("**/api/jobs/*/events", lambda route: route.abort())
    studio.generate("slow")

    expect(studio.play_button).to_be_enabled()


def test_a_submission_whose_answer_was_lost_is_not_made_twice(studio: StudioPage) -> None:
    keys: list[str | None] = []

    def lose_the_first_answer(route: Route) -> None:
        keys.append(route.request.headers.get("idempotency-key"))
        answer = route.fetch()
        assert answer.status == 202
        if len(keys) == 1:
            route.abort()
        else:
            assert answer.headers["idempotent-replayed"] == "true"
            route.fulfill(response=answer)

    studio.page.route("**/api/jobs", lose_the_first_answer)
    studio.generate("an A")

    expect(studio.play_button).to_be_enabled()
    expect(studio.takes).to_have_count(1)
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_a_lost_submission_is_sent_again_with_its_key_after_another(studio: StudioPage) -> None:
    page = studio.page
    keys: list[str | None] = []

    def listen(route: Route) -> None:
        keys.append(route.request.headers.get("idempotency-key"))
        if len(keys) <= SUBMIT_ATTEMPTS:
            route.abort()
        else:
            route.continue_()

    page.route("**/api/jobs", listen)
    page.clock.install()
    studio.generate("an A")
    for attempt in range(2, SUBMIT_ATTEMPTS + 1):
        expect(page.get_by_role("status")).to_have_text(f"No answer, sending it again… ({attempt}/3)")
        page.clock.run_for(SUBMIT_RETRY_MS)
    expect(studio.stage).to_contain_text("The server cannot be reached.")
    studio.generate("another A")
    expect(studio.takes).to_have_count(1)
    for count in (2, 3):
        studio.generate("an A")
        expect(studio.takes).to_have_count(count)

    lost, other, again, anew = keys[0], *keys[SUBMIT_ATTEMPTS:]
    assert keys[:SUBMIT_ATTEMPTS] == [lost] * SUBMIT_ATTEMPTS
    assert again == lost
    assert len({lost, other, anew}) == 3


# ---------------------------------------------------------------------- earlier takes


def test_a_reload_keeps_the_takes_and_picks_up_the_running_one(studio: StudioPage) -> None:
    studio.generate("an A")
    expect(studio.takes).to_have_count(1)
    expect(studio.play_button).to_be_enabled()
    studio.generate("slow")
    expect(studio.stage).to_contain_text("Composing slowly…")

    studio.page.reload()
    expect(studio.takes).to_have_count(2)
    expect(studio.stage).to_contain_text("Composing slowly…")
    expect(studio.play_button).to_be_enabled()
    expect(studio.takes.first).to_contain_text("ready")
    studio.takes.nth(1).get_by_role("button", name="an A ready").click()
    expect(studio.stage.get_by_role("heading", name="an A")).to_be_visible()
    expect(studio.stage).to_be_focused()


def test_a_full_storage_forgets_nothing_until_the_page_is_left(studio: StudioPage) -> None:
    studio.page.evaluate("() => { Storage.prototype.setItem = () => { throw new DOMException('full') } }")
    studio.generate("an A")
    expect(studio.play_button).to_be_enabled()
    studio.generate("another A")

    expect(studio.takes).to_have_count(2)
    expect(studio.takes.first).to_contain_text("another A")


def test_odd_entries_in_the_storage_are_left_out(studio: StudioPage) -> None:
    studio.page.evaluate(
        """() => {
             const takes = [null, {id: "1", prompt: "a", at: "foo"}, {id: "2", prompt: {}, at: 0},
               {id: "3", prompt: "c", at: 0}];
             localStorage.setItem("studio.history", JSON.stringify(takes));
             sessionStorage.setItem("studio.submissions", '{"what"');
             sessionStorage.setItem("studio.key", "“odd”");
           }"""
    )
    studio.page.reload()

    expect(studio.takes).to_have_count(1)
    studio.generate("an A")
    expect(studio.play_button).to_be_enabled()


def test_an_expired_take_says_so_and_can_be_removed(studio: StudioPage, moody: Server) -> None:
    studio.generate("an A", seed="7")
    expect(studio.play_button).to_be_enabled()
    expect(studio.page).to_have_title("ready – Studio")
    assert moody.request("DELETE", f"/api/jobs/{studio.take_id}").status == 204

    studio.page.reload()
    expect(studio.takes.first).to_contain_text("expired")
    expect(studio.stage).to_contain_text("Expired")
    studio.action("Use it again").click()
    expect(studio.page.locator("#seed")).to_have_value("7")
    studio.takes.first.get_by_role("button", name="Remove “an A” from the list").click()
    expect(studio.takes).to_have_count(0)
    studio.page.reload()
    expect(studio.takes).to_have_count(0)


def test_what_has_expired_is_not_asked_for_again(studio: StudioPage) -> None:
    asked: list[str] = []
    problem = {"title": "Gone.", "detail": "It was kept for a day.", "code": "gone", "status": 410}

    def expire(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=410, content_type=PROBLEM, json=problem)

    studio.page.route("**/api/status/*", expire)
    studio.generate("an A")
    expect(studio.stage).to_contain_text("It was kept for a day.")
    studio.page.reload()
    expect(studio.stage).to_contain_text("It was kept for a day.")
    expect(studio.takes.first).to_contain_text("expired")
    assert len(asked) == 1


def test_two_tabs_tell_each_other(studio: StudioPage) -> None:
    page = studio.page
    page.emulate_media(color_scheme="light")
    other = StudioPage(page.context.new_page(), studio.server).open()
    other.page.emulate_media(color_scheme="light")
    studio.generate("an A")
    expect(other.takes.first).to_contain_text("ready")
    page.get_by_role("button", name="Use dark colours").click()
    expect(other.page.get_by_role("button", name="Use light colours")).to_be_visible()
    page.get_by_role("button", name="Remove “an A” from the list").click()
    expect(other.takes).to_have_count(0)


def test_twenty_takes_are_remembered(studio: StudioPage) -> None:
    studio.page.evaluate(
        """localStorage.setItem("studio.history", JSON.stringify(
             Array.from({length: 30}, (_, at) => ({id: String(at).padStart(32, "0"), prompt: `take ${at}`, at: 0}))))"""
    )
    studio.page.reload()

    expect(studio.takes).to_have_count(20)
    expect(studio.takes.first).to_contain_text("expired")


# ---------------------------------------------------------------------- failures


def test_refused_fields_say_so_where_they_are(studio: StudioPage) -> None:
    studio.generate("", tempo="fast", seed="many")

    expect(studio.prompt).to_be_focused()
    for name in ("prompt", "tempo", "seed"):
        expect(studio.page.locator(f"#{name}-error")).to_have_text(re.compile("^This must "))
        expect(studio.page.locator(f"#{name}")).to_have_attribute("aria-invalid", "true")
    studio.generate("an A", tempo="90", seed="")
    expect(studio.play_button).to_be_enabled()
    expect(studio.page.locator("[aria-invalid]")).to_have_count(0)


def test_a_service_without_an_engine_says_what_to_do(page: Page, serve: Serve) -> None:
    studio = StudioPage(page, serve(COMPOSER)).open()
    expect(page.locator("#notice")).to_contain_text("“huggingface” is not configured")
    with page.expect_response("**/api/jobs") as answer:
        studio.generate("an A")

    problem = answer.value.json()
    assert answer.value.status == 503
    expect(studio.stage.get_by_role("heading")).to_have_text(problem["title"].replace("`", ""))
    expect(studio.stage).to_contain_text(problem["hint"].replace("`", ""))
    studio.stage.get_by_text("Details").click()
    expect(studio.stage).to_contain_text(problem["request_id"])


@pytest.mark.parametrize(("prompt", "code"), [("nonsense", "upstream-bad-response"), ("timeout", "upstream-timeout")])
def test_a_failed_job_is_explained(studio: StudioPage, prompt: str, code: str) -> None:
    page = studio.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    with page.expect_response("**/analyze-failure") as answer:
        studio.generate(prompt)

    diagnosis = answer.value.json()
    for sentence in (diagnosis["description"], *diagnosis["suggestions"], f"confidence {diagnosis['confidence']}"):
        expect(studio.stage).to_contain_text(sentence.replace("`", ""))
    studio.action("Copy report").click()
    expect(page.get_by_role("status")).to_have_text("The report is in the clipboard.")
    report = page.evaluate("navigator.clipboard.readText()")
    assert f"Code: {code}" in report
    assert studio.take_id in report
    assert f"Cause: {diagnosis['error_type']}" in report
    job = json.loads(page.request.get(f"{studio.url}api/status/{studio.take_id}").text())
    for told in (job["error"]["hint"], "Engine: moody", f'"prompt":"{prompt}"', f"Time: {job['finished_at']}"):
        assert told in report


def test_a_report_that_cannot_be_copied_is_shown(studio: StudioPage) -> None:
    studio.generate("timeout")
    studio.page.evaluate(
        """() => {
             Object.defineProperty(navigator, "clipboard", { value: undefined });
             document.execCommand = () => false;
           }"""
    )
    studio.action("Copy report").click()
    expect(studio.page.get_by_role("status")).to_contain_text("The report could not be copied.")
    report = studio.page.get_by_role("textbox", name="Report")
    expect(report).to_have_value(re.compile("Code: upstream-timeout"))
    expect(report).to_be_focused()

    studio.page.evaluate("() => { document.execCommand = () => true }")
    studio.action("Copy report").click()
    expect(report).to_have_count(0)
    expect(studio.action("Copy report")).to_be_focused()


def test_an_analysis_that_fails_says_so(studio: StudioPage) -> None:
    problem = {
        "title": "The failure could not be analysed.", "error": "The failure could not be analysed.", "status": 500,
        "detail": "The analyser stopped.", "details": "The analyser stopped.", "code": "analysis-failed",
        "hint": "", "retryable": False, "request_id": "request-4711", "errors": [], "type": "",
    }  # fmt: skip
    studio.page.route("**/analyze-failure", lambda route: route.fulfill(status=500, content_type=PROBLEM, json=problem))
    studio.generate("timeout")

    for told in ("The cause could not be looked for", "The analyser stopped.", "request-4711"):
        expect(studio.stage).to_contain_text(told)
    expect(studio.stage.get_by_role("heading").first).to_have_text("The music engine did not finish in time.")


def test_what_a_proxy_answers_is_no_riddle(studio: StudioPage) -> None:
    studio.page.route("**/api/jobs", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    studio.generate("an A")

    expect(studio.stage).to_contain_text("The server answered with an error (502).")
    studio.page.unroute_all()
    studio.action("Try again").click()
    expect(studio.play_button).to_be_enabled()


def test_a_proxy_that_answers_a_question_is_no_news_of_the_job(studio: StudioPage) -> None:
    page = studio.page
    page.clock.install()
    page.route("**/api/status/*", lambda route: route.fulfill(body="<h1>Welcome to the café’s network</h1>"))
    studio.generate("an A")

    expect(studio.stage).to_contain_text("Server issue, retrying… (1/5)")
    page.unroute_all()
    page.clock.run_for(RETRY_MS)
    expect(studio.play_button).to_be_enabled()


def test_who_asks_too_often_is_told_how_long_to_wait(page: Page, serve: Serve) -> None:
    studio = StudioPage(page, serve(MOODY, STUDIO_RATE_LIMIT="1/minute")).open()
    studio.generate("an A")
    expect(studio.play_button).to_be_enabled()
    studio.generate("an A")

    expect(studio.stage).to_contain_text(re.compile(r"Worth trying again in about \d+ s\."))
    studio.takes.first.get_by_role("button", name="an A ready").click()
    expect(studio.play_button).to_be_enabled()


def test_a_pasted_error_is_diagnosed(studio: StudioPage) -> None:
    page = studio.page
    page.get_by_text("Diagnose an error").click()
    settings = page.get_by_role("textbox", name="Settings")
    page.get_by_role("textbox", name="Error").fill("CUDA out of memory")
    settings.fill('{"per_device_train_batch_size": 8')
    page.get_by_role("button", name="Diagnose").click()
    expect(page.locator("#config-error")).to_contain_text("is not JSON")

    settings.fill('{"per_device_train_batch_size": 8}')
    page.get_by_role("button", name="Diagnose").click()
    found = page.locator("#diagnosis")
    for told in ("oom_training", "phase training", "confidence high", "per_device_train_batch_size (now 8)"):
        expect(found).to_contain_text(told)
    page.get_by_role("textbox", name="Error").fill("")
    page.get_by_role("button", name="Diagnose").click()
    expect(page.locator("#error-error")).to_have_text("This must not be empty.")


# ---------------------------------------------------------------------- keys


def test_a_key_is_asked_for_and_audio_is_fetched_with_it(page: Page, serve: Serve) -> None:
    studio = StudioPage(page, serve(MOODY, **keys_of(nina="right"))).open()
    dialog = page.get_by_role("dialog", name="An API key, please")

    expect(dialog).to_be_visible()
    page.get_by_label("API key", exact=True).fill("wrong")
    page.get_by_role("button", name="Use this key").click()
    expect(dialog).to_contain_text("The API key is not known.")
    page.get_by_label("API key", exact=True).fill("“right”")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("This is no key")
    page.get_by_label("API key", exact=True).fill("right")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    studio.generate("an A")
    studio.play_button.click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    with page.expect_download() as download:
        studio.stage.get_by_role("link", name="Download WAV").click()
    assert Path(download.value.path()).read_bytes().startswith(b"RIFF")
    assert page.evaluate("Object.keys(localStorage).includes('studio.key')") is False


def test_a_question_that_failed_at_first_is_asked_again(page: Page, composer: Server) -> None:
    page.route("**/api/engines", lambda route: route.abort())
    studio = StudioPage(page, composer)
    with page.expect_event("requestfailed"):
        page.goto(studio.url)
    expect(page.locator("#engine")).to_have_text("unknown")
    page.unroute_all()
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#engine")).to_have_text("composer")


# ---------------------------------------------------------------------- for everybody


def test_axe_finds_no_fault_in_light_and_dark(page: Page, moody: Server, composer: Server) -> None:
    StudioPage(page, composer).open()
    page.get_by_text("Choose from the players").click()
    page.get_by_role("button", name="violin", exact=True).click()
    page.get_by_text("Diagnose an error").click()
    assert faults(page) == []
    studio = StudioPage(page, moody).open()

    studio.generate("", tempo="fast")
    expect(page.locator("#tempo-error")).not_to_be_empty()
    assert faults(page) == []

    studio.generate("slow kazoo", tempo="")
    expect(studio.stage).to_contain_text("Composing slowly…")
    assert faults(page) == []
    expect(studio.play_button).to_be_enabled()
    assert faults(page) == []

    studio.generate("timeout")
    expect(studio.stage).to_contain_text("What probably happened")
    studio.stage.get_by_text("Details").click()
    assert faults(page) == []


def test_nothing_is_cut_off_on_narrow_screens(studio: StudioPage) -> None:
    for prompt in ("w" * 200, "timeout \u202e"):
        studio.generate(prompt)
        expect(studio.stage.get_by_role("button").first).to_be_visible()
        expect(studio.takes.first).to_contain_text(re.compile("ready|failed"))
        assert widths(studio.page) == [*NARROW]


def test_the_light_is_chosen_and_stays(studio: StudioPage) -> None:
    page = studio.page
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Use dark colours").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.reload()
    expect(page.get_by_role("button", name="Use light colours")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark == "rgb(23, 19, 15)"
    page.get_by_role("button", name="Use light colours").click()
    page.get_by_role("button", name="As the system: use its colours").click()
    assert page.evaluate("localStorage.getItem('studio.theme')") is None
