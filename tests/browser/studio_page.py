"""The studio page as tests use it: what stands where, by the names that a person knows it by."""

from __future__ import annotations

from playwright.sync_api import Locator, Page
from real.programs import Server


class StudioPage:
    """The page of a server, in a tab."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.server = server
        self.url = f"http://127.0.0.1:{server.port}/"
        self.stage = page.locator("#stage")
        self.takes = page.locator("#history li")
        self.prompt = page.get_by_role("textbox", name="Prompt")
        self.generate_button = page.get_by_role("button", name="Generate")
        self.play_button = page.get_by_role("button", name="Play", exact=True)

    def open(self) -> StudioPage:
        """Load the page, and return when it knows what can be asked for."""
        with self.page.expect_response("**/api/engines"):
            self.page.goto(self.url)
        return self

    def generate(self, prompt: str, **fields: str) -> None:
        """Fill the form, by the names of its inputs, and send it."""
        self.prompt.fill(prompt)
        for name, text in fields.items():
            self.page.locator(f"#studio [name={name}]").fill(text)
        self.generate_button.click()

    def action(self, name: str) -> Locator:
        """Return a button on the stage."""
        return self.stage.get_by_role("button", name=name)

    @property
    def take_id(self) -> str:
        """The job of the newest take."""
        return (self.takes.first.get_attribute("id") or "").removeprefix("take-")
