"""The editor in Chromium, used like a person would."""

import re
import shutil

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect, sync_playwright

from tests.e2e.conftest import SUITES

# Deploy, set up, log in and use a terminal on every Debian release. The other tests use one release.
pytestmark = pytest.mark.parametrize("machine", SUITES, indirect=True)

SECOND = 1000


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            # No requests leave this machine, and the terminal is rendered as text instead of on a canvas.
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-3d-apis",
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, machine):
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60 * SECOND)
    page.goto(f"http://127.0.0.1:{machine.port}/")
    yield page
    context.close()


def log_in(page: Page, password: str) -> None:
    page.locator("input[type=password]").fill(password)
    page.locator("input[type=submit]").click()


def open_terminal(page: Page) -> Locator:
    """Open a terminal and wait for its prompt: input before the prompt can get lost."""
    expect(page.get_by_role("treeitem", name=".bashrc")).to_be_visible(timeout=60 * SECOND)
    terminal = page.locator(".terminal-wrapper.active .xterm-rows")
    # The workbench is visible before it handles this key.
    for _ in range(6):
        page.keyboard.press("Control+Shift+Backquote")
        try:
            terminal.wait_for(timeout=10 * SECOND)
            break
        except TimeoutError:
            continue
    expect(terminal).to_contain_text(re.compile(r"coder@.*\$"), timeout=60 * SECOND)
    return terminal


def test_a_person_logs_in_and_works_in_a_terminal(page, machine, artifacts):
    log_in(page, machine.password)
    expect(page.locator(".monaco-workbench")).to_be_visible(timeout=60 * SECOND)
    terminal = open_terminal(page)
    page.keyboard.type("whoami\n", delay=20)
    expect(terminal).to_contain_text(re.compile(r"whoami\s*coder"), timeout=30 * SECOND)
    page.screenshot(path=str(artifacts / f"workbench-{machine.suite}.png"))


def test_a_wrong_password_is_refused(page):
    log_in(page, "not-the-password")
    expect(page.locator(".error")).to_contain_text("Incorrect password")
    expect(page.locator("input[type=password]")).to_be_visible()
