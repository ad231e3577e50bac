"""A real browser for the admin's pages: the system's Chromium, which asks no other host for anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.browser.visitor import Visitor

# Playwright's synchronous side runs an event loop in this thread, in which Django would refuse to ask the database.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        subprocess.run([ROOT / "scripts/apt_install.sh", "chromium"], check=False)
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium, and it cannot be installed (apt: chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visitor(browser: Browser, live_server: LiveServer, settings: Any) -> Iterator[Visitor]:
    """Somebody with a window of 1280 pixels, in the light theme, logged in as nobody yet."""
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    with tempfile.TemporaryDirectory() as folder:
        shots = Path(os.environ.get("NOTIFIER_SCREENSHOTS", folder))
        somebody = Visitor(browser, live_server.url, shots)
        yield somebody
        somebody.leave()
