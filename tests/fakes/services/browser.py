"""A real Chromium for tests of pages, and what each page asked for and complained about."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DROP = """([name, type, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type }));
  const options = { bubbles: true, cancelable: true };
  const paste = new ClipboardEvent("paste", { ...options, clipboardData: data });
  const dropped = { ...options, dataTransfer: data };
  const drops = ["dragenter", "dragover", "drop"].map((kind) => new DragEvent(kind, dropped));
  for (const event of window.pastes ? [paste] : drops) document.body.dispatchEvent(event);
}"""


PATIENCE_MS = 30_000


def expect(locator: Any) -> Any:
    """Playwright's assertions, which wait for what they assert."""
    from playwright.sync_api import expect as waiting

    waiting.set_options(timeout=PATIENCE_MS)
    return waiting(locator)


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser of this machine; without one, or without playwright, the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is a development extra")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with playwright.sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A visit to a server's page: everything it asked for, and everything that went wrong on it."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        self.url = url
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self) -> Any:
        """The page, ready."""
        self.page.goto(self.url)
        self.page.wait_for_selector("html[data-ready]")
        return self.page

    def drop(self, name: str, data: bytes, paste: bool = False) -> None:
        """Drop a file onto the page, or paste it."""
        self.page.evaluate(f"window.pastes = {str(paste).lower()}")
        self.page.evaluate(DROP, [name, "image/png", base64.b64encode(data).decode("ascii")])

    @property
    def outside(self) -> list[str]:
        """Requests to anything but the server."""
        return [url for url in self.requests if not url.startswith(("data:", "blob:", self.url))]
