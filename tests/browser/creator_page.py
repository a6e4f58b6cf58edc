"""The creator page as tests use it: what stands where, by the names that a person knows it by."""

from __future__ import annotations

from playwright.sync_api import Locator, Page
from real.programs import Server


class CreatorPage:
    """The page of a server, in a tab."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.url = f"http://127.0.0.1:{server.port}/creator"
        self.strips = page.locator("#strips > .strip")
        self.total = page.locator("#sections")
        self.live = page.locator("#live")
        self.stage = page.locator("#stage")
        self.parts = page.get_by_role("region", name="Sections of the song").locator("li.part")
        self.timeline = page.get_by_role("list", name="Sections of the track")
        self.songs = page.locator("#history li")
        self.play_button = page.get_by_role("button", name="Play", exact=True)
        self.create_button = page.get_by_role("button", name="Create", exact=True)

    def open(self) -> CreatorPage:
        """Load the page, and return when it knows what can be asked for."""
        with self.page.expect_response("**/api/engines"):
            self.page.goto(self.url)
        return self

    def create(self, *prompts: str) -> None:
        """Have a song made of short sections, one for each prompt, called A, B and so on."""
        self.shape(*prompts)
        self.create_button.click()

    def shape(self, *prompts: str) -> None:
        """Make the draft sections of three seconds, one for each prompt, called A, B and so on."""
        while (there := self.strips.count()) > len(prompts):
            self.strip(there).get_by_role("button", name="Remove").click()
        for _ in range(there, len(prompts)):
            self.page.get_by_role("button", name="Add section").click()
        for number, prompt in enumerate(prompts, start=1):
            self.field(number, "Name").fill(chr(ord("A") + number - 1))
            self.field(number, "What is special").fill(prompt)
            self.field(number, "Length").fill("3")

    def strip(self, number: int) -> Locator:
        """Return a section of the draft, by its number from 1."""
        return self.strips.nth(number - 1)

    def field(self, number: int, name: str) -> Locator:
        """Return an input of a section of the draft."""
        return self.strip(number).get_by_label(name)

    @property
    def names(self) -> list[str]:
        """The names of the draft's sections, in their order."""
        return [self.field(number, "Name").input_value() for number in range(1, self.strips.count() + 1)]

    def action(self, name: str) -> Locator:
        """Return a button on the stage."""
        return self.stage.get_by_role("button", name=name)

    @property
    def song_id(self) -> str:
        """The job of the newest song."""
        return (self.songs.first.get_attribute("id") or "").removeprefix("take-")
