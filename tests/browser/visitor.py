"""Somebody in front of a browser: goes to pages, and knows what went wrong on them."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Page, Response


class Visitor:
    """``troubles`` has what the console reported, and every request that was for another host or failed."""

    def __init__(self, browser: Browser, home: str, shots: Path) -> None:
        self.home = home
        self.troubles: list[str] = []
        self._shots = shots
        self._context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page: Page = self._context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda asked: self._own(asked.url))
        self.page.on("response", self._got)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(message.text)

    def _got(self, response: Response) -> None:
        if response.status >= 400:
            self.troubles.append(f"{response.status} {response.url}")

    def _own(self, url: str) -> None:
        if not url.startswith((self.home, "data:", "blob:")):
            self.troubles.append(f"another host: {url}")

    def log_in(self, user: User) -> None:
        client = Client()
        client.force_login(user)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        self._context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": self.home}])

    def grant(self, *permissions: str) -> None:
        """What the browser would ask the person for."""
        self._context.grant_permissions(list(permissions), origin=self.home)

    def go(self, path: str, *, width: int = 1280, dark: bool = False) -> Page:
        """Open the page, once it is at rest."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.page.goto(f"{self.home}{path}", wait_until="networkidle")
        return self.page

    def scrolls_sideways(self) -> list[str]:
        """What is wider than it may be: the page itself, or a box that scrolls its contents sideways."""
        found: list[str] = self.page.evaluate(
            """() => [document.documentElement, ...document.querySelectorAll('.simplebar-content-wrapper, #result_list')]
                .filter(box => box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 0)
                .map(box => `${box.tagName}.${box.className} ${box.scrollWidth} > ${box.clientWidth}`)"""
        )
        return found

    def shoot(self, name: str) -> None:
        """A picture of the whole page, kept where NOTIFIER_SCREENSHOTS names a folder."""
        self._shots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self._shots / f"{name}.png", full_page=True)

    def leave(self) -> None:
        self._context.close()
