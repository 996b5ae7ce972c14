"""The page as a person uses it, in one headless browser: what it shows, says, and looks like."""

import base64
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recipes.base import preparation
from tests import tiny_page as tiny

pytestmark = pytest.mark.usefixtures("browser_is_here")

STATIC = Path(__file__).resolve().parents[3] / "exporters" / "web" / "page"
WIDE, PHONE = (1000, 1300), (390, 844)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """It hears a tone that comes and goes where it is asked for its microphone."""
    from selenium.webdriver.remote.file_detector import UselessFileDetector

    from validators.runners.browser import Browser

    browser = Browser("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    # The files that a person chooses are on the same machine.
    browser.file_detector = UselessFileDetector()
    yield browser
    browser.quit()


class Page:
    """What a person does and sees."""

    def __init__(self, browser: Any, address: str = "") -> None:
        self.browser = browser
        if address:
            browser.get(address)

    def ready(self) -> "Page":
        self.until(lambda: self.status.startswith("Ready"))
        return self

    def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(1200):
            if holds():
                return
            time.sleep(0.025)
        raise AssertionError(f"status {self.status!r}, problem {self.problem!r}")

    def text(self, name: str) -> str:
        return self.browser.execute_script("return document.getElementById(arguments[0]).textContent", name)

    @property
    def status(self) -> str:
        return self.text("status")

    @property
    def problem(self) -> str:
        return self.text("problem")

    def element(self, name: str) -> Any:
        return self.browser.find_element("id", name)

    def choose(self, path: Path) -> None:
        self.element("file").send_keys(str(path))

    def tagged(self, path: Path) -> "Page":
        self.browser.execute_script("document.getElementById('status').textContent = ''")
        self.choose(path)
        self.until(lambda: f"{path.name}: " in self.status or self.problem != "")
        assert self.problem == ""
        return self

    def rows(self) -> list[tuple[str, float]]:
        rows = self.browser.find_elements("css selector", "#top li")
        return [
            (row.find_element("class name", "name").text, float(row.find_element("class name", "number").text))
            for row in rows
        ]

    def pixels(self, name: str | None = None) -> np.ndarray:
        """(height, width, 3) as a person sees it: the page, or one element of it."""
        from PIL import Image

        if name is None:
            png = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})["data"]
        else:
            png = self.element(name).screenshot_as_base64
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def served(tiny_page: Path) -> str:
    from validators.runners.browser import Server

    return Server(tiny_page).address


@pytest.fixture
def page(browser: Any, served: str) -> Iterator[Page]:
    """Loaded anew only where a test has led the browser elsewhere."""
    sized(browser, WIDE)
    yield Page(browser) if browser.current_url == served else Page(browser, served).ready()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    rising = np.concatenate([tiny.tone(1000, 0.5), tiny.tone(13000, 0.5)])
    soundfile.write(folder / "rising.wav", rising, tiny.RATE, "FLOAT")
    stereo = np.stack([tiny.tone(13000, 1, 44100), tiny.tone(13000, 1, 44100)], axis=1)
    soundfile.write(folder / "stereo.flac", stereo, 44100)
    soundfile.write(folder / "long.wav", np.tile(tiny.tone(1000, 1), 6), tiny.RATE)
    soundfile.write(folder / "quiet.wav", 0.1 * tiny.tone(13000, 1.5) + 0.02 * tiny.tone(1000, 1.5), tiny.RATE, "FLOAT")
    soundfile.write(folder / "short.wav", tiny.tone(1000, 0.01), tiny.RATE)
    (folder / "text.wav").write_text("no sound")
    return folder


def sized(browser: Any, size: tuple[int, int]) -> None:
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def before_the_page(browser: Any, script: str) -> str:
    return browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})["identifier"]


def test_a_sound_file_is_tagged(page: Page, sounds: Path, tiny_page: Path) -> None:
    from validators.runners.onnxruntime import open_file

    page.tagged(sounds / "rising.wav")
    samples, _ = soundfile.read(sounds / "rising.wav", dtype="float32")
    right = open_file(tiny_page / "model.onnx").run({"waveform": samples[None]})["clipwise"][0]
    order = np.argsort(-right)
    assert [name for name, _ in page.rows()] == [tiny.LABELS[index] for index in order]
    np.testing.assert_allclose([number for _, number in page.rows()], right[order], atol=6e-4)
    assert re.fullmatch(r"rising\.wav: 1\.00 s of sound in \d+ ms\. .+, 0\.\d\d\.", page.status)


def test_the_best_class_has_the_longest_bar(page: Page, sounds: Path) -> None:
    page.tagged(sounds / "rising.wav")
    bars = page.browser.find_elements("css selector", "#top .bar")
    whole = bars[0].size["width"]
    filled = [bar.find_element("tag name", "span").size["width"] / whole for bar in bars]
    np.testing.assert_allclose(filled, [number for _, number in page.rows()], atol=0.01)
    # As pixels: the accent's colour, as far as the bar goes.
    row = np.asarray(page.pixels("top"))
    blue = (row[..., 2] > row[..., 0] + 80).any(axis=1)
    assert blue.sum() >= 3 * len(bars)


def test_the_spectrogram_shows_low_sound_below_and_high_above(page: Page, sounds: Path) -> None:
    page.tagged(sounds / "rising.wav")
    picture = page.pixels("spectrum").sum(axis=2)
    assert page.text("spectrum-caption") == "Log-mel spectrogram, as the network sees it"
    height, width = picture.shape
    left, right = picture[:, : width // 3].mean(axis=1), picture[:, -width // 3 :].mean(axis=1)
    assert left.argmax() > 0.7 * height > 0.6 * height > right.argmax()
    assert np.ptp(left) > 100


def test_the_waveform_and_the_curves_are_drawn(page: Page, sounds: Path) -> None:
    page.tagged(sounds / "rising.wav")
    wave = page.pixels("waveform")
    assert (np.ptp(wave, axis=0).sum(axis=1) > 0).mean() > 0.95
    curves = page.pixels("curves")
    back = curves[0, 0]
    colours = {tuple(colour) for colour in curves.reshape(-1, 3) if np.abs(colour - back).max() > 60}
    assert len(colours) > 3
    assert [item.text for item in page.browser.find_elements("css selector", "#legend li")] == [
        name for name, _ in page.rows()
    ]
    assert re.match("Probability over time: Low, at most 0[.]8", page.element("curves").get_attribute("aria-label"))


def test_dark_mode_is_dark(page: Page, sounds: Path) -> None:
    page.tagged(sounds / "rising.wav")
    light = page.pixels()
    dark_mode = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark_mode)
    dark = page.pixels()
    assert light.shape == dark.shape
    assert np.median(light) > 240
    assert np.median(dark) < 40
    # What is drawn is drawn again, in colours that stand out.
    assert np.abs(page.pixels("waveform") - page.pixels("waveform")[0, 0]).max() > 100


def test_a_phone_scrolls_down_alone(page: Page, sounds: Path) -> None:
    sized(page.browser, PHONE)
    page.tagged(sounds / "rising.wav")
    wide, seen = page.browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= seen == PHONE[0]
    for name in ("spectrum", "waveform", "curves", "top"):
        rect = page.element(name).rect
        assert rect["x"] >= 0
        assert rect["x"] + rect["width"] <= PHONE[0]
    assert all(button.size["height"] >= 44 for button in page.browser.find_elements("css selector", "button, select"))


def test_names_are_text_and_never_html(page: Page, sounds: Path) -> None:
    page.tagged(sounds / "rising.wav")
    assert page.text("title-text") == "Tag sound: Tiny <b>model</b>"
    assert tiny.LABELS[1] in [name for name, _ in page.rows()]
    assert page.browser.find_elements("css selector", "main img, main b") == []
    assert page.browser.title == "Tag sound: Tiny <b>model</b>"


def test_any_rate_and_channels_are_heard_as_the_model_hears(page: Page, sounds: Path) -> None:
    page.tagged(sounds / "stereo.flac")
    assert page.rows()[0][0] == "High"
    assert "1.00 s of sound" in page.status


def test_long_sound_goes_through_in_windows(page: Page, sounds: Path) -> None:
    page.tagged(sounds / "long.wav")
    assert page.text("windows") == "The mean of 6 windows of 1.00 s."
    once = page.rows()
    page.element("sound").send_keys("low")
    page.until(lambda: page.status.startswith("low: 1.00 s"))
    assert page.text("windows") == ""
    np.testing.assert_allclose([n for _, n in once], [n for _, n in page.rows()], atol=2e-3)


def test_a_model_of_one_length_is_fed_as_its_authors_feed_it(
    browser: Any, npm_package: Path, sounds: Path, tmp_path: Path
) -> None:
    from validators.runners.browser import Server
    from validators.runners.onnxruntime import open_file

    folder = tiny.write(tmp_path, npm_package, fixed=True)
    page = Page(browser, Server(folder).address).ready().tagged(sounds / "quiet.wav")
    assert page.text("windows") == "The mean of 2 windows of 1.00 s."
    samples, _ = soundfile.read(sounds / "quiet.wav", dtype="float32")
    normalised = preparation.normalised(samples, 0.95)
    windows = np.stack([preparation.fitted(normalised[start:], tiny.RATE) for start in (0, tiny.RATE)])
    scores = open_file(tmp_path / "model.onnx").run({"waveform": windows})["clipwise"]
    right = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).mean(axis=0)
    order = np.argsort(-right)
    assert [name for name, _ in page.rows()] == [tiny.LABELS[index] for index in order]
    np.testing.assert_allclose([number for _, number in page.rows()], right[order], atol=6e-4)
    # It has no spectrogram and no frames: one is drawn for the eye, and the windows are the curves.
    assert page.text("spectrum-caption") == "Spectrogram, for the eye alone: the network hears the waveform"
    assert np.ptp(page.pixels("spectrum").sum(axis=2)) > 300
    assert page.element("curves").is_displayed()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text.wav", "text.wav is no sound that this browser can read. Try a WAV, FLAC, MP3 or Ogg file."),
        ("short.wav", "short.wav is 0.01 s long, which is too short: the model needs 0.02 s."),
    ],
)
def test_what_cannot_be_tagged_is_told(page: Page, sounds: Path, name: str, said: str) -> None:
    page.choose(sounds / name)
    page.until(lambda: page.problem != "")
    assert page.problem == said
    assert page.element("problem").get_attribute("role") == "alert"
    page.tagged(sounds / "rising.wav")
    assert page.problem == ""


def test_a_dropped_file_is_tagged(page: Page) -> None:
    page.browser.execute_script(
        """
        const samples = new Float32Array(32000).map((_, index) => Math.sin(index / 10));
        const head = new DataView(new ArrayBuffer(44));
        const put = (place, text) => [...text].forEach((c, i) => head.setUint8(place + i, c.charCodeAt(0)));
        put(0, "RIFF"); head.setUint32(4, 36 + 4 * 32000, true); put(8, "WAVEfmt "); head.setUint32(16, 16, true);
        head.setUint16(20, 3, true); head.setUint16(22, 1, true); head.setUint32(24, 32000, true);
        head.setUint32(28, 128000, true); head.setUint16(32, 4, true); head.setUint16(34, 32, true);
        put(36, "data"); head.setUint32(40, 4 * 32000, true);
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([head, samples], "dropped.wav"));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        """
    )
    page.until(lambda: page.status.startswith("dropped.wav: 1.00 s"))


def test_the_microphone_is_heard_until_it_is_stopped(page: Page) -> None:
    button = page.element("microphone")
    button.click()
    page.until(lambda: page.status.startswith("Listening: "))
    assert button.get_attribute("aria-pressed") == "true"
    assert button.text == "Stop the microphone"
    assert page.rows()
    button.click()
    page.until(lambda: page.status == "The microphone is off." and button.is_enabled())
    assert button.get_attribute("aria-pressed") == "false"
    assert button.text == "Use the microphone"


def test_a_file_that_the_microphone_has_followed_is_not_shown(page: Page, sounds: Path) -> None:
    page.browser.execute_script(
        """
        window.tagger.then((tagger) => {
          tagger.decode = async (...given) => {
            await new Promise((resolve) => (window.release = resolve));
            delete tagger.decode;
            const samples = await tagger.decode(...given);
            window.decoded = true;
            return samples;
          };
        });
        """
    )
    page.choose(sounds / "rising.wav")
    page.until(lambda: page.status.startswith("Tagging rising.wav"))
    page.element("microphone").click()
    page.until(lambda: page.status.startswith("Listening: "))
    page.browser.execute_script("window.release()")
    page.until(lambda: page.browser.execute_script("return window.decoded"))
    # What is asked later is answered later.
    page.browser.execute_async_script(
        "const done = arguments[0]; window.tagger.then((t) => t.tag(new Float32Array(t.rate))).then(() => done());"
    )
    try:
        assert page.status.startswith("Listening: ")
        assert not page.element("player").is_displayed()
    finally:
        page.element("microphone").click()
        page.until(lambda: page.status == "The microphone is off." and page.element("microphone").is_enabled())


def test_no_microphone_is_told(page: Page) -> None:
    refusing = "navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('', '{}'); }};"
    for script, said in (
        (refusing.format("NotFoundError"), "There is no microphone. Connect one, or choose a file."),
        (
            refusing.format("NotAllowedError"),
            "The microphone was refused. Allow it for this page in the browser's settings.",
        ),
        (
            "Object.defineProperty(navigator, 'mediaDevices', { value: undefined });",
            "Browsers give the microphone to pages on https and on localhost alone, and this page is on neither.",
        ),
    ):
        page.browser.execute_script(script)
        page.element("microphone").click()
        page.until(lambda said=said: page.problem == said and page.element("microphone").is_enabled())
    page.browser.get("about:blank")


def test_a_browser_without_simd_is_told(browser: Any, served: str) -> None:
    script = before_the_page(browser, "WebAssembly.validate = () => false;")
    try:
        page = Page(browser, served)
        page.until(lambda: page.problem != "")
        assert page.problem.startswith("This browser has no WebAssembly SIMD, which the model needs.")
        assert not page.element("file").is_enabled()
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": script})


def test_a_missing_file_is_told(browser: Any, tiny_page: Path, tmp_path: Path) -> None:
    from validators.runners.browser import Server

    folder = shutil.copytree(tiny_page, tmp_path / "web")
    (folder / "model.onnx").unlink()
    page = Page(browser, Server(folder).address)
    page.until(lambda: page.problem != "")
    assert re.fullmatch(r"http://127.0.0.1:\d+/model.onnx is missing: the server said 404.", page.problem)


def test_threads_are_used_where_the_headers_allow_them(browser: Any, tiny_page: Path, sounds: Path) -> None:
    from validators.runners.browser import Server

    isolated = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
    page = Page(browser, Server(tiny_page, isolated).address).ready()
    threads = page.browser.execute_script("return Math.min(4, navigator.hardwareConcurrency)")
    assert page.status == ("Ready, on one thread." if threads == 1 else f"Ready, on {threads} threads.")
    page.tagged(sounds / "rising.wav")


def test_opened_as_a_file_it_asks_for_its_folder(browser: Any, tiny_page: Path, sounds: Path) -> None:
    page = Page(browser, (tiny_page / "index.html").as_uri())
    page.until(lambda: page.element("folder").is_displayed())
    assert not page.element("file").is_enabled()
    page.element("folder-files").send_keys(str(tiny_page))
    page.ready()
    assert not page.element("folder").is_displayed()
    page.tagged(sounds / "rising.wav")
    assert len(page.rows()) == 3


def test_the_keyboard_reaches_everything_and_all_has_a_name(page: Page, sounds: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    page.tagged(sounds / "rising.wav")
    page.browser.execute_script("document.activeElement.blur()")
    reached = []
    for _ in range(4):
        ActionChains(page.browser).send_keys(Keys.TAB).perform()
        reached.append(page.browser.switch_to.active_element)
    assert [element.get_attribute("id") for element in reached] == ["file", "microphone", "sound", "player"]
    assert [element.accessible_name for element in reached] == [
        "Choose a sound file",
        "Use the microphone",
        "Reference sound",
        "The sound",
    ]
    named = ["waveform", "spectrum", "curves"]
    assert all(page.element(name).accessible_name and page.element(name).aria_role for name in named)
    # Where the keyboard is, is seen.
    page.browser.execute_script("document.getElementById('microphone').blur()")
    before = page.pixels("sources")
    page.browser.execute_script("document.getElementById('microphone').focus({ focusVisible: true })")
    assert np.abs(page.pixels("sources") - before).max() > 60


def test_nothing_comes_from_elsewhere(page: Page, sounds: Path) -> None:
    page.tagged(sounds / "rising.wav")
    asked = page.browser.execute_script("return performance.getEntriesByType('resource').map(({ name }) => name)")
    origin = page.browser.execute_script("return location.origin")
    assert asked
    assert [name for name in asked if not name.startswith((f"{origin}/", f"blob:{origin}/", "data:"))] == []
    policy = re.search(r'Content-Security-Policy"\s+content="([^"]+)"', (STATIC / "index.html").read_text("utf-8"))
    assert policy is not None
    assert policy[1].startswith("default-src 'none';")
    for path in STATIC.glob("*.*"):
        assert not re.search(r"(?:src|href|url\(|fetch\(|import)\W{0,3}(?:https?:)?//", path.read_text("utf-8")), path


def test_the_cards_javascript_tags_a_sound(page: Page, tiny_page: Path) -> None:
    from convert.targets.web import TARGET

    card = TARGET.sample.format(file="web", names="clipwise, framewise, melspec")
    sample = re.search(r"```js\n(.*?)```", card, re.DOTALL)
    assert sample is not None
    script = sample[1].replace('"web/"', '"./"')
    answer = page.browser.execute_async_script(
        f"const done = arguments[0]; (async () => {{ {script}\n"
        'const { best, outputs } = await tag(new File([await (await fetch("sounds/low.wav")).blob()], "low.wav"));'
        "return { best, outputs: Object.keys(outputs[0]) }; })().then(done, (error) => done(String(error)));"
    )
    assert answer["best"][0]["label"] == "Low"
    assert answer["outputs"] == ["clipwise", "framewise", "melspec"]


def test_what_the_page_reads_of_the_model_is_json_that_all_can_read(tiny_page: Path) -> None:
    about = json.loads((tiny_page / "model.json").read_text(encoding="utf-8"))
    assert list(about) == ["title", "facts", "input", "outputs", "front_end", "sounds"]
    assert json.loads(about["facts"]["labels"]) == list(tiny.LABELS)
