"""Take the pictures of the pages, with music that was just made, into `docs/pictures`: `python -m tools.pictures`.

Needs the development dependencies and Chromium (`CHROMIUM=/usr/bin/chromium`).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # pages and servers are those of the tests

from browser.conftest import COMPOSER, Servers
from browser.creator_page import CreatorPage
from browser.studio_page import StudioPage
from real.programs import Server, wait_for

FOLDER: Final = Path(__file__).parents[1] / "docs" / "pictures"
WIDTH, HEIGHT = 1280, 920
WAIT_MS: Final = 60_000

# Sound reaches high above the middle, which a tape that is still quiet does not.
_HAS_WAVE: Final = """canvas => {
  const { width, height } = canvas;
  const row = canvas.getContext("2d").getImageData(0, Math.floor(height * 0.3), width, 1).data;
  return row.some((each, at) => at % 4 === 3 && each > 0);
}"""


def take_pictures(page: Page, server: Server) -> None:
    """Have a piece and a song made, and photograph each half played."""
    expect.set_options(timeout=WAIT_MS)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")

    studio = StudioPage(page, server).open()
    studio.generate("lo-fi hip hop, rain on the window", seed="7", tempo="80", mood="calm")
    expect(studio.play_button).to_be_enabled()
    page.get_by_role("slider", name="Position").fill("4.2")
    _photograph(page, "studio.png")

    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    creator = CreatorPage(page, server).open()
    page.locator("#seed").evaluate("input => { input.value = '7' }")
    creator.create_button.click()
    expect(creator.play_button).to_be_enabled()
    creator.timeline.get_by_role("button", name="Chorus").click()
    _photograph(page, "creator.png")


def _photograph(page: Page, name: str) -> None:
    # Not with `wait_for_function`, which the pages' policy forbids to evaluate text.
    wait_for(lambda: page.locator("#stage canvas").first.evaluate(_HAS_WAVE))
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.screenshot(path=FOLDER / name)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        servers = Servers(Path(folder))
        try:
            chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            take_pictures(page, servers.start(COMPOSER, STUDIO_ENGINE="composer"))
            browser.close()
        finally:
            servers.end()


if __name__ == "__main__":
    main()
