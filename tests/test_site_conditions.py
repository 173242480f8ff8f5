"""The web site under all conditions: narrow, dark, printed, without JavaScript, with names that try to break out."""

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from selenium.webdriver.common.by import By

from tests.conftest import PHONE
from tests.site_records import BREAKOUT

pytestmark = pytest.mark.slow

VOC = "benchmarks/pascal-voc--val.html"
A4 = 718
"""CSS pixels between usual margins."""
NARROWEST = 320
"""CSS pixels: what WCAG 2.1 (1.4.10) asks to fit without scrolling in two directions."""


def address(site, pattern):
    """The only page whose name fits a pattern."""
    (found,) = site.glob(pattern)
    return found.relative_to(site).as_posix()


def test_every_page_fits_the_narrowest_screen_and_every_link_leads_somewhere(any_size):
    site, places, links = any_size.site, {}, set()
    any_size.size(NARROWEST)
    for path in sorted(site.rglob("*.html")):
        any_size.open(quote(path.relative_to(site).as_posix(), safe="/+"))
        width, ids, targets = any_size.run(_WIDTH_IDS_AND_TARGETS)
        assert width <= NARROWEST, path.name
        places[path] = set(ids)
        assert len(places[path]) == len(ids), f"an id twice in {path.name}"
        links.update(targets)
    assert len(places) > 80
    for link in links:
        parts = urlsplit(link)
        if parts.scheme in ("http", "https"):
            continue
        target = Path(unquote(parts.path))
        assert parts.scheme == "file" and target.is_relative_to(site) and target.is_file(), link
        assert not parts.fragment or unquote(parts.fragment) in places[target], link


_WIDTH_IDS_AND_TARGETS = """
    for (const one of document.querySelectorAll("details")) one.open = true;
    const targets = [...document.querySelectorAll("[href], [src]")]
        .map((one) => one.getAttribute("src") ?? one.getAttribute("href"));
    return [
        document.documentElement.scrollWidth,
        [...document.querySelectorAll("[id]")].map((one) => one.id),
        [...new Set(targets)].map((target) => new URL(target, location).href),
    ];
"""


def test_the_colours_are_switched_and_stay_so_on_the_next_page(browser):
    browser.open()
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = browser.run(ground)
    browser.one("[data-theme-toggle]").click()
    dark = browser.run(ground)
    assert dark != light
    browser.open("models.html")
    assert browser.run(ground) == dark
    browser.one("[data-theme-toggle]").click()
    assert browser.run(ground) == light


def test_hostile_names_are_text_and_nothing_else(browser):
    for page in (
        "models/hostile.html",
        "benchmarks/plain--all.html",
        address(browser.site, "pictures/hostile--*.html"),
        *(path.relative_to(browser.site).as_posix() for path in browser.site.glob("benchmarks/hostile-data*.html")),
        "index.html",
        VOC,
        "models.html",
        "papers.html",
    ):
        browser.open(page)  # a dialog fails here
        assert BREAKOUT in browser.run("return document.body.textContent"), page
        assert browser.run("return document.querySelectorAll('main script, main img[src=x], [onerror]').length") == 0
    browser.open()
    assert "<img src=x onerror=alert(4)>.json is damaged" in browser.one(".notice").text


def test_without_javascript_tables_and_charts_are_whole(browser):
    browser.scripts(False)
    browser.open(VOC)
    assert len(browser.all("table.ranking tr[id]")) > 20
    assert browser.one("table.ranking tr[id] .model").is_displayed()
    points = browser.shown("a.point")
    assert len(points) > 20
    assert points[0].find_element(By.CSS_SELECTOR, "title").get_property("textContent")
    assert not browser.one(".filters").is_displayed()
    assert browser.all("thead button") == []
    browser.one("tr[id] .model a").click()
    browser.until(lambda: browser.one("details.recipe summary")).click()
    assert browser.one("details.recipe dl").is_displayed()
    browser.open()
    assert not browser.one(".search").is_displayed()


def test_on_a_phone_a_row_is_a_block_whose_values_have_names(any_size):
    any_size.size(PHONE)
    for scripts in (True, False):
        any_size.scripts(scripts)
        any_size.open(VOC)
        row = any_size.one("tr[id]")
        cells = [cell for cell in row.find_elements(By.CSS_SELECTOR, "th, td") if "none" not in _words(cell)]
        assert "Date" not in any_size.texts("table.ranking thead") and len(cells) >= 8
        assert all(cell.rect["x"] + cell.rect["width"] <= PHONE for cell in cells)
        assert len({round(cell.rect["y"]) for cell in cells}) >= 4
        named = [any_size.run(_NAME, cell) for cell in cells if cell.get_dom_attribute("data-name")]
        assert named == ['"95 % interval"', '"Supervision"', '"Reproduced"']
        # without scripts nothing sorts, and so nothing offers to
        strip = any_size.one("table.ranking thead").rect
        assert (strip["height"] > 20) == scripts


_NAME = "return getComputedStyle(arguments[0], '::before').content.split(' /')[0]"


def _words(element):
    return (element.get_dom_attribute("class") or "").split()


def test_print_leaves_out_the_controls_and_keeps_the_tables(browser):
    browser.open(VOC)
    browser.media("print", scheme="dark")
    for control in ("header nav", "[data-theme-toggle]", ".filters", ".skip"):
        assert not browser.one(control).is_displayed(), control
    assert browser.one("table.ranking").is_displayed()
    for box in browser.shown(".scroll"):
        assert box.value_of_css_property("overflow-x") == "visible", "paper does not scroll"
    assert browser.one("[data-chart] svg").is_displayed()
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.open()
    assert not browser.one(".search").is_displayed()
    assert browser.one("table.benchmarks").is_displayed()


def test_a_sheet_of_paper_holds_every_table_and_opens_what_was_folded(any_size):
    any_size.size(A4)
    any_size.media("print")
    for page in ("index.html", VOC, "models/maskcontrast-sup.html", "papers/2102.06191.html"):
        any_size.open(page)
        assert any_size.run("return document.documentElement.scrollWidth") <= A4, page
        for part in any_size.all("details dl, details table"):
            assert any_size.run("return arguments[0].checkVisibility()", part), page
