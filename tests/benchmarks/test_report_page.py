"""The report in a real headless Chromium: it loads from the disk, its pictures show, filters count, the keyboard is enough."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.run import main
from tests.browser import Browser

pytestmark = pytest.mark.slow
OPTIONS = ("--queries", "30", "--failures", "5")
BAD_ELEMENTS = """(() => {
  const name = (e) => e.outerHTML.slice(0, 120);
  const visible = (e) => e.checkVisibility();
  const text = (e) => (e.getAttribute('aria-label') || e.textContent || '').trim();
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  return [
    ...[...document.images].filter((e) => !e.alt).map((e) => 'no alt: ' + name(e)),
    ...[...document.querySelectorAll('input, select')].filter((e) => !e.labels.length).map((e) => 'no label: ' + name(e)),
    ...[...document.querySelectorAll('a, button, summary')].filter((e) => !text(e)).map((e) => 'no name: ' + name(e)),
    ...[...document.querySelectorAll('th')].filter((e) => !e.scope).map((e) => 'no scope: ' + name(e)),
    ...[...document.querySelectorAll('table')].filter((e) => !e.querySelector('thead th')).map((e) => 'no head: ' + name(e)),
    ...[...document.querySelectorAll('[aria-labelledby]')].filter((e) => !document.getElementById(e.getAttribute('aria-labelledby')))
      .map((e) => 'named by nothing: ' + name(e)),
    ...ids.filter((id, n) => ids.indexOf(id) !== n).map((id) => 'id twice: ' + id),
    ...[...document.querySelectorAll('a[href^="#"]')].filter((e) => !document.getElementById(e.hash.slice(1)))
      .map((e) => 'leads nowhere: ' + name(e)),
    ...[...document.querySelectorAll('h2, h3, h4')].map((e, n, all) => [e, n ? Number(all[n - 1].tagName[1]) : 1])
      .filter(([e, before]) => Number(e.tagName[1]) > before + 1 && visible(e)).map(([e]) => 'heading skips a level: ' + name(e)),
  ];
})()"""
# WCAG 2: contrast of each text with the nearest opaque ground behind it
FAINT = """(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = numbers(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !e.checkVisibility()) continue;
    const [one, other] = [light(numbers(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) found.add(`${ratio.toFixed(2)} ${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 40)}`);
  }
  return [...found];
})()"""


def count(browser: Browser) -> int:
    """Returns how many queries the page says that it found."""
    return int(re.match(r"(\d+) of \d+ queries", browser.run("document.getElementById('shown').textContent"))[1])


def choose(browser: Browser, field: str, value: str) -> int:
    """Sets a field as a user's choice does, and returns how many queries are left."""
    browser.run(
        f"(() => {{ const e = document.getElementById('{field}'); e.value = {json.dumps(value)};"
        "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    return count(browser)


def focused(browser: Browser) -> str:
    return browser.run("document.activeElement.id || document.activeElement.className || document.activeElement.tagName")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A report of two methods that need no training, and of their table."""
    work = tmp_path_factory.mktemp("report")
    where = ["--tiny", "--results", str(work / "results"), "--store", str(work / "store")]
    assert main(["table1", "--rows", "random,scene-facts", *where]) == 0
    for name in ("page", "again"):
        assert main(["report", *OPTIONS, "--to", str(work / name), *where]) == 0
    return work / "page"


@pytest.fixture(scope="module")
def window(folder) -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def page(window, folder) -> Browser:
    window.said.clear()
    window.asked.clear()
    window.open(folder / "index.html")
    return window


def test_the_same_measurements_give_the_same_bytes(folder):
    def contents(of: Path) -> dict[str, bytes]:
        return {path.relative_to(of).as_posix(): path.read_bytes() for path in of.rglob("*") if path.is_file()}

    assert contents(folder) == contents(folder.with_name("again"))
    assert sum(map(len, contents(folder).values())) < 2**21


def test_it_loads_from_the_disk_without_a_complaint(page):
    page.run("Promise.all([...document.images].map((image) => (image.loading = 'eager', image.decode())))")
    assert page.said == []
    assert all(url.startswith(("file://", "data:")) for url in page.asked)
    assert page.run("document.title") == "openmoji-scenes-tiny – vokenbench report"
    assert page.run("document.querySelectorAll('#table1 tr[class]').length") == 9
    assert "not measured" in page.run("document.querySelector('.absent-list').textContent").lower()


def test_the_checks_see_what_is_wrong(page):
    page.run("document.querySelector('#cards img').alt = ''; document.getElementById('search').id = 'other'; 0")
    page.run("document.querySelector('#cards h3').style.color = '#ccc'; 0")
    assert {line.split(":")[0] for line in page.run(BAD_ELEMENTS)} == {"no alt", "no label"}
    assert len(page.run(FAINT)) == 1


def test_everything_has_a_name_and_stands_out(page, folder):
    assert page.run(BAD_ELEMENTS) == []
    assert page.run(FAINT) == []
    with Browser(dark=True) as dark:
        dark.open(folder / "index.html")
        assert dark.run("getComputedStyle(document.body).backgroundColor") != page.run("getComputedStyle(document.body).backgroundColor")
        assert dark.run(FAINT) == []


def test_pictures_show_and_hits_are_marked_by_words_too(page):
    assert choose(page, "result", "first") > 0
    page.run("Promise.all([...document.querySelectorAll('#cards img')].map((image) => image.decode()))")
    assert page.run("[...document.querySelectorAll('#cards img')].every((image) => image.naturalWidth > 0)")
    hits = page.run("[...document.querySelectorAll('.answer.hit')].map((e) => [e.innerText, getComputedStyle(e.firstChild).borderStyle])")
    assert hits
    assert all("✓ wanted" in text and style == "double" for text, style in hits)
    places = page.run("[...document.querySelectorAll('.card')].map((card) => card.querySelector('.place').textContent)")
    assert any(place.startswith("✓ 1st") for place in places)


def test_words_methods_and_results_choose_queries(page, folder):
    data = json.loads((folder / "data.js").read_text().removeprefix("window.REPORT = ").rstrip(";\n"))
    texts = [query["text"].lower() for query in data["queries"] if query["drawn"]]
    assert count(page) == len(texts) == 30
    word = max(re.findall(r"\w+", texts[0]), key=len)
    assert choose(page, "search", word.upper()) == sum(word in text for text in texts) < 30
    assert page.run(
        "[...document.querySelectorAll('#cards h3')].every((e) => e.textContent.toLowerCase().includes(" + json.dumps(word) + "))"
    )
    assert choose(page, "search", "no such words") == 0
    assert page.run("document.getElementById('cards').childElementCount") == 0
    assert choose(page, "search", "") == 30
    assert choose(page, "which", "worst") == len({query for method in data["methods"] for query in method["worst"]})
    assert choose(page, "which", "all") == len(data["queries"]) > 30
    page.run("document.getElementById('method-random').click(); 0")
    parts = [choose(page, "result", result) for result in ("first", "listed", "missed")]
    places = next(method["places"] for method in data["methods"] if method["key"] == "scene-facts")
    assert parts == [sum(fits(before) for before, _ in places) for fits in (lambda b: b == 0, lambda b: b > 0, lambda b: b < 0)]
    assert sum(parts) == len(data["queries"])
    assert choose(page, "result", "differ") == 0, "one method does not differ from itself"
    page.run("document.getElementById('method-random').click(); 0")
    assert count(page) > 0
    page.run("document.querySelectorAll('#methods :checked').forEach((box) => box.click()); 0")
    assert page.run("document.getElementById('shown').textContent") == "No method is chosen: choose one."


def test_more_are_shown_when_asked_for(page):
    before = page.run("document.getElementById('cards').childElementCount")
    page.run("document.getElementById('more').click(); 0")
    assert page.run("document.getElementById('cards').childElementCount") == 2 * before
    assert "card" in focused(page), "whoever uses a keyboard goes on where the new ones begin"


def test_the_keyboard_is_enough(page):
    page.press("Tab", 9)
    assert focused(page) == "skip"
    page.press("Enter", 13, "\r")
    assert focused(page) == "main"
    page.run("document.querySelector('#queries').scrollIntoView(); document.querySelector('#search').focus(); 0")
    page.type("zzz")
    assert count(page) == 0
    seen = []
    for _ in range(4):
        page.press("Tab", 9)
        seen.append(focused(page))
    assert seen[:3] == ["which", "result", "count"]
    assert seen[3].startswith("method-")
    checked = page.run("document.activeElement.checked")
    page.press(" ", 32, " ")
    assert page.run("document.activeElement.checked") is not checked
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.run("document.getElementById('shown').getAttribute('aria-live')") == "polite"


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_sticks_out_of_the_window(page, width):
    page.resize(width, 900)
    try:
        assert page.run("document.documentElement.scrollWidth") == width
    finally:
        page.resize(page.width, page.height)


def test_without_a_browser_the_tests_say_what_to_do(monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(RuntimeError, match="no Chromium here: `make system`"), Browser():
        pass
