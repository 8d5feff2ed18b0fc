"""The pages as a person uses them, in headless Chromium."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from support.commands import SMALL, Run

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="needs chromium and chromedriver (chromium-driver)",
    ),
]

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--window-size=1300,1000"
)

HOSTILE = [
    "<b>bold</b> & </script><script>document.title='taken'</script>",
    "<img src=x onerror=\"document.title='taken'\"> 'red' \"dress\"",
    "فستان أحمر مخطط",  # right to left
    "robe 👗 rouge — été",
]


class Browser:
    """A browser whose console and requests are watched."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(address)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """What is read in each element; at one moment, so that no redrawing comes between."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)"
        found: list[str] = self.driver.execute_script(script, selector)
        return found

    def choose(self, selector: str, value: str) -> None:
        Select(self.one(selector)).select_by_value(value)

    def until_said(self, words: str) -> None:
        WebDriverWait(self.driver, 20).until(lambda _: words in self.one("#status").text)

    def everything(self) -> str:
        """All that is written, within components too."""
        script = """const read = (node) => [...node.childNodes].map((child) =>
            child.nodeType === Node.TEXT_NODE ? child.data
            : ["STYLE", "SCRIPT"].includes(child.nodeName) ? ""
            : (child.shadowRoot ? read(child.shadowRoot) : "") + read(child)).join(" ");
            return read(document.body)"""
        text: str = self.driver.execute_script(script)
        return text

    def check_quiet(self) -> None:
        """No error on the console, and nothing asked of another machine."""
        assert self.driver.get_log("browser") == []
        self.check_local()

    def check_local(self) -> None:
        """Nothing was asked of another machine."""
        messages = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        asked = [
            urlparse(message["params"]["request"]["url"])
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        assert asked
        for address in asked:
            local = address.scheme in ("file", "data", "blob") or address.hostname == "127.0.0.1"
            assert local, address.geturl()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="module")
def trained(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Run(tmp_path_factory.mktemp("trained"), cache_dir)
    return run("train", *LEARNING, "model.attribute_blocks={neckline: 16}", *GALLERY)


LEARNING = ("trainer.max_epochs=4", "optimizer.lr=0.01")
GROUPS = ("overall", "attributes", "slices", "losses", "mining", "data mix", "throughput")
GALLERY = ("gallery=true", "report.gallery.queries=60")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose texts are not to be trusted."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    lines = ["image,text,category,product_id"]
    for number in range(40):
        Image.fromarray(rng.integers(0, 255, (48, 40, 3), dtype=np.uint8)).save(
            folder / f"{number}.png"
        )
        text = HOSTILE[number % len(HOSTILE)].replace('"', '""')
        lines.append(f'{number}.png,"{text}",{"<i>tops</i>" if number % 2 else "hats"},{number}')
    (folder / "items.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def shop(hostile: Path) -> list[str]:
    return ["data=folder", f"data.root={hostile}", f"data.table={hostile / 'items.csv'}"]


class Served:
    """A server in a process of its own, at the address that it prints."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ,
        )
        assert self.process.stdout is not None
        said = next((line for line in self.process.stdout if "http://" in line), None)
        assert said is not None, "the server did not start"
        self.address = next(word for word in said.split() if word.startswith("http://"))

    def __enter__(self) -> str:
        return self.address

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)


def demo(cache_dir: Path, out: Path, *overrides: str) -> Served:
    """`fashret-demo`."""
    places = [f"paths.cache_dir={cache_dir}", f"hydra.run.dir={out}"]
    return Served("-m", "fashret.cli.demo", "port=0", "device=cpu", *places, *overrides)


def test_the_report_draws_itself(browser: Browser, trained: Path) -> None:
    browser.open((trained / "report" / "index.html").as_uri())
    for figure in ("slices", "epochs", "losses", "likeness"):
        assert browser.all(f"#{figure} svg"), figure
    before = browser.one("#slices").text
    browser.choose("#attribute", "material")
    assert browser.one("#slices").text != before
    assert browser.all("#confusion svg")
    assert browser.one("a[href='../gallery.html']").is_displayed()
    browser.check_quiet()


def test_the_gallery_shows_what_is_asked_for(browser: Browser, trained: Path) -> None:
    browser.open((trained / "gallery.html").as_uri())
    total = len(browser.all("article"))
    assert total == 20
    for what in ("fixed", "broken", "wrong", "right"):
        browser.choose("#outcome", what)
        shown = {a.get_attribute("data-outcome") for a in browser.all("article")}
        assert shown <= {what}
    browser.choose("#outcome", "")
    browser.choose("#relevance", "neckline")
    browser.choose("#value", "round")
    facts = browser.texts("article .asked p.dim:nth-child(2)")
    assert facts
    assert all("neckline: round" in fact for fact in facts)
    browser.choose("#value", "")
    browser.choose("#order", "gain")
    gains = [int(text.split()[-2]) for text in browser.texts("article .asked p:last-child")]
    assert gains == sorted(gains, reverse=True)
    assert len(set(gains)) > 1
    browser.check_quiet()


def test_the_search_page_searches(
    browser: Browser, trained: Path, cache_dir: Path, tmp_path: Path
) -> None:
    with demo(cache_dir, tmp_path, f"run={trained}", *SMALL) as address:
        browser.open(address)
        browser.until_said("The first 24")
        assert len(browser.all("section")) == 2  # the run, and the model as it comes

        browser.one("#text").send_keys("striped dress")
        browser.until_said("The best 24")
        typed = browser.texts("section:first-child figcaption")

        Select(browser.one("#filters select[name=category]")).select_by_value("shorts")
        WebDriverWait(browser.driver, 20).until(
            lambda _: browser.texts("section:first-child figcaption") != typed
        )
        facts = browser.texts("section:first-child figcaption .dim")
        assert all("category: shorts" in fact for fact in facts)
        browser.choose("#filters select[name=category]", "")

        browser.one("summary").click()
        weight = browser.one("#weights input[name=neckline]")
        assert weight.is_displayed()
        browser.until_said("The best 24")
        first = browser.texts("section:first-child figcaption b")
        browser.driver.execute_script(
            "const [slider] = arguments; slider.value = 2;"
            "slider.dispatchEvent(new Event('input', {bubbles: true}))",
            weight,
        )
        WebDriverWait(browser.driver, 20).until(
            lambda _: browser.texts("section:first-child figcaption b") != first
        )

        row = browser.driver.execute_script(
            "const hit = document.querySelector('.shelf button'); hit.click();"
            "return hit.dataset.row"
        )
        WebDriverWait(browser.driver, 20).until(lambda _: browser.one("#photo").is_displayed())
        assert (browser.one("#preview").get_attribute("src") or "").endswith(f"photos/{row}")
        assert browser.one("#text").get_attribute("value") == ""
        browser.until_said("The best 24")

        photo = tmp_path / "dropped.png"
        Image.new("RGB", (60, 80), "crimson").save(photo)
        browser.one("#file").send_keys(str(photo))
        browser.until_said("The best 24")
        assert (browser.one("#preview").get_attribute("src") or "").startswith("blob:")
        assert not browser.one("#mix").is_displayed()
        browser.one("#text").send_keys("red")
        WebDriverWait(browser.driver, 20).until(lambda _: browser.one("#mix").is_displayed())
        browser.choose("#shown", "0")
        WebDriverWait(browser.driver, 20).until(lambda _: len(browser.all("section")) == 1)
        browser.check_quiet()

        browser.one("#clear").click()
        broken = tmp_path / "broken.png"
        broken.write_bytes(photo.read_bytes()[:60])
        dropped = """const files = new DataTransfer();
            files.items.add(new File([new Uint8Array([1, 2, 3])], "broken.png"));
            dispatchEvent(new DragEvent("drop", {dataTransfer: files, cancelable: true}))"""
        browser.driver.execute_script(dropped)
        browser.until_said("not a photo in one of the formats")


def test_the_viewer_corrects(
    browser: Browser, hostile: Path, cache_dir: Path, tmp_path: Path
) -> None:
    page = Run(tmp_path, cache_dir)("view", *shop(hostile), "view.alike=0.5", small=False)
    browser.open((page / "index.html").as_uri())
    for part in ("values", "lookalikes"):
        assert browser.all(f"#{part} .shelf button"), part
    assert set(browser.texts("#values h3")) == {"<i>tops</i>: 20", "hats: 20"}
    assert "<i>tops</i>" in browser.texts(".heat th")
    assert not browser.one("#save").is_enabled()
    first = browser.one("#values .shelf button")
    item = first.get_attribute("data-item")
    first.click()
    browser.one("#fields input[name=category]").send_keys('caps, "flat"')
    browser.one("#editor button[value=keep]").click()
    WebDriverWait(browser.driver, 20).until(lambda _: browser.one("#save").is_enabled())
    assert browser.one("#count").text == "1 corrected"
    browser.check_quiet()

    made = tmp_path / "overrides.csv"
    made.write_text(browser.driver.execute_script("return csv()"), encoding="utf-8")
    browser.one("#save").click()  # so that nothing asks whether to leave
    again = Run(tmp_path, cache_dir)(
        "view", *shop(hostile), f"data.overrides={made}", "view.alike=null", small=False
    )
    browser.open((again / "index.html").as_uri())
    assert 'caps, "flat": 1' in browser.texts("#values h3")
    assert browser.one("#count").text == "1 corrected"
    corrected = browser.one(f"#values button[data-item='{item}']")
    assert corrected.get_attribute("class") == "corrected"


def test_tensorboard_shows_the_run(browser: Browser, trained: Path) -> None:
    panels = {
        "custom_scalars": [*GROUPS, "Matches"],
        "images": ["queries/image", "queries/text"],
        "hparams": ["optimizer.lr", "final/image/neckline/precision@10"],
        "text": ["scoreboard"],
    }
    flags = ["--host", "127.0.0.1", "--port", "0", "--load_fast", "false"]
    with Served("-m", "tensorboard.main", "--logdir", str(trained), *flags) as address:
        for panel, promised in panels.items():
            browser.open(f"{address}?{panel}#{panel}")
            WebDriverWait(browser.driver, 60).until(
                lambda _, words=promised: all(word in browser.everything() for word in words),
                f"{panel}: {promised}",
            )
            browser.check_local()
        browser.open(f"{address}?projector#projector")
        for _ in range(2):  # a frame within a frame
            frame = WebDriverWait(browser.driver, 60).until(
                lambda _: next(iter(browser.all("iframe")), None)
            )
            browser.driver.switch_to.frame(frame)
        WebDriverWait(browser.driver, 60).until(
            lambda _: re.search(r"Points: \s*\d+", browser.everything())
        )
        browser.driver.switch_to.default_content()
        browser.check_local()


def test_texts_of_a_shop_stay_texts(
    browser: Browser, hostile: Path, cache_dir: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path, cache_dir)
    folder = run("evaluate", *shop(hostile), *GALLERY, "targets=none", small=False)
    for page in (folder / "gallery.html", folder / "report" / "index.html"):
        browser.open(page.as_uri())
        browser.check_quiet()
        assert "taken" not in browser.driver.title
    browser.open((folder / "gallery.html").as_uri())
    said = {text.strip("“”") for text in browser.texts("article .asked p:first-child")}
    assert said == set(HOSTILE)
    with demo(cache_dir, tmp_path / "served", *shop(hostile)) as address:
        browser.open(address)
        browser.until_said("The first 24")
        assert set(browser.texts("figcaption div[dir]")) == set(HOSTILE)
        assert "<i>tops</i>" in browser.texts("#filters option")
        assert browser.driver.title.startswith("Search")
        browser.check_quiet()
