"""A headless Chromium that is looked through, where there is one; nothing is installed for it."""

from __future__ import annotations

import json
import shutil
import time

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no chromium and chromedriver here: the page is not looked at in a browser",
)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1100,900", "--force-device-scale-factor=1",
)  # fmt: skip


def open_browser(profile, tries=3):
    """A driver of a browser of its own; ``profile`` is an empty folder.

    On a busy machine a browser may give up its own start; another one is tried then.
    """
    from selenium.common.exceptions import SessionNotCreatedException

    for k in range(tries):
        try:
            return _open(profile / str(k))
        except SessionNotCreatedException:
            if k == tries - 1:
                raise
    raise AssertionError("not reached")


def _open(profile):
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


def wait(browser, script, seconds=30):
    """What ``return <script>`` gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := browser.execute_script(f"return {script}")):
        assert time.monotonic() < end, f"{script} is still {found!r}"
        time.sleep(0.05)
    return found


def visit(browser, url):
    browser.get(url)
    wait(browser, "document.documentElement.dataset.ready === '1'")


def requests(browser):
    """Addresses that were asked for since this was last called, but for the browser's own parts."""
    messages = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    found = [params["request"]["url"] for params in sent]
    return [url for url in found if not url.startswith(("chrome://", "chrome-untrusted://"))]
