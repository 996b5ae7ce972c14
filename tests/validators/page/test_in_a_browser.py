"""A page as a browser shows it: nothing is asked for, nothing is complained of, light and dark, wide and narrow."""

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.validators.page.pages import HOSTILE, whole
from validators.page import write
from validators.runners.runtime import BROWSERS, DRIVER

pytestmark = pytest.mark.usefixtures("browser_is_here")
_WORDS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    checks, evidence = whole()
    path.write_text(write(checks, evidence, HOSTILE, [HOSTILE]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(which, BROWSERS)))
    for word in _WORDS:
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(which(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def _shown(browser: Any, page: Path, scheme: str, width: int) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


def test_it_opens_without_a_network_and_without_a_complaint(browser: Any, page: Path) -> None:
    browser.get_log("performance")
    _shown(browser, page, "light", 1180)
    # Pictures that are in it, and none that are not there.
    assert browser.execute_script("return document.querySelectorAll('svg.chart image').length") > 3
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert page.as_uri() in asked
    assert all(url.startswith("data:image/png;base64,") for url in asked - {page.as_uri()})
    assert browser.execute_script("return document.title").startswith("FAILED")


def test_it_is_dark_where_the_system_is(browser: Any, page: Path) -> None:
    """Words and lines stand off from the paper by 4.5 to 1 and more (https://www.w3.org/TR/WCAG22/#contrast-minimum)."""
    papers = []
    for scheme in ("light", "dark"):
        _shown(browser, page, scheme, 1180)
        paper = _luminance(browser, "document.body", "backgroundColor")
        papers.append(paper)
        for selector in ("body", ".status.passed", ".status.failed", ".status.not-verified", "figcaption", "thead th"):
            ink = _luminance(browser, f"document.querySelector('{selector}')", "color")
            lighter, darker = max(ink, paper), min(ink, paper)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (scheme, selector)
        words = _luminance(browser, "document.querySelector('.chart text')", "fill")
        assert abs(words - paper) > 0.4
    assert papers[0] > 0.9
    assert papers[1] < 0.05


def _luminance(browser: Any, element: str, style: str) -> float:
    said = browser.execute_script(f"return getComputedStyle({element}).{style}")
    parts = [int(part) / 255 for part in said.removeprefix("rgb(").rstrip(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_telephone_shows_it_without_scrolling_aside(browser: Any, page: Path) -> None:
    _shown(browser, page, "light", 375)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 375
    cut = """return [...document.querySelectorAll(arguments[0])].filter(one => {
        const {left, right} = one.getBoundingClientRect();
        return left < 0 || right > 375;
    }).map(one => one.textContent)"""
    # What an overview is for, without a scroll of its own table.
    for selector in ("table.stacked th[scope=row]", ".stacked .status", ".stacked .used", ".top .used", "caption"):
        assert browser.execute_script(cut, selector) == [], selector
