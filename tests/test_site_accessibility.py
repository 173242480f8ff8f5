"""The web site for everybody: axe-core on every kind of page, focus that is seen, targets that are easily hit."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.conftest import DESKTOP, PHONE

pytestmark = pytest.mark.slow

KINDS = {
    "home": "index.html",
    "benchmark": "benchmarks/pascal-voc--val.html",
    "without labels": "benchmarks/plain--all.html",
    "model": "models/maskcontrast-sup.html",
    "models": "models.html",
    "paper": "papers/2102.06191.html",
    "papers": "papers.html",
    "pictures": "pictures/maskcontrast-sup--*.html",
    "run": "runs/wide--*.html",
    "video": "models/tracker.html",
    "hostile": "models/hostile.html",
}


def show(browser, kind):
    browser.open(min(path.relative_to(browser.site).as_posix() for path in browser.site.glob(KINDS[kind])))


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_and_nothing_sticks_out(browser, kind):
    show(browser, kind)
    assert browser.findings() == []
    assert browser.run("return document.documentElement.scrollWidth === innerWidth"), "wider than the screen"
    browser.media(scheme="dark")
    assert browser.findings(rules=("color-contrast",)) == [], "in dark colours"


@pytest.mark.parametrize("kind", KINDS)
def test_no_table_but_a_matrix_hides_columns_beside_the_screen(any_size, kind):
    show(any_size, kind)
    for width in (PHONE, 640, 833, 1024, 1153, 1249, 1345, DESKTOP):
        any_size.size(width)
        assert any_size.run(_WIDER) == [], width


_WIDER = """
    for (const one of document.querySelectorAll("details")) one.open = true;
    return [...document.querySelectorAll(".scroll:not(:has(.matrix))")]
        .filter((one) => one.scrollWidth > one.clientWidth + 2)
        .map((one) => `${one.querySelector("table").className}: ${one.scrollWidth} in ${one.clientWidth}`);
"""


@pytest.mark.parametrize("kind", ["home", "benchmark", "model", "paper"])
def test_a_folded_table_is_a_table_still(any_size, kind):
    trees = []
    for width in (PHONE, DESKTOP):
        any_size.size(width)
        show(any_size, kind)
        nodes = any_size.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        told = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
        trees.append([(role, name.replace(" ", "")) for role, name in told if role in TABLE])
    assert {role for role, _ in trees[0]} == TABLE
    assert trees[0] == trees[1]


TABLE = {"table", "row", "cell", "columnheader", "rowheader"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_what_appears_later(browser, scheme):
    browser.media(scheme=scheme)
    show(browser, "home")
    browser.one("#query").send_keys("mask")
    assert browser.all("#found li")
    assert browser.findings(".search") == []
    show(browser, "benchmark")
    browser.one("select[name=labels]").send_keys("fully")
    browser.run("arguments[0].focus()", browser.all(".answer a")[-1])
    browser.press(Keys.TAB, Keys.END)
    assert browser.one("[data-tip]").is_displayed()
    assert browser.findings("[data-chart]") == []
    browser.press(Keys.ENTER)
    browser.until(lambda: browser.one("tr:target").is_displayed())
    assert browser.findings("tr:target") == []


@pytest.mark.parametrize("kind", ["benchmark", "model"])
def test_whatever_has_the_focus_is_in_sight_and_marked(browser, kind):
    show(browser, kind)
    for _ in range(30):
        focused = browser.press(Keys.TAB)
        if focused.tag_name == "body":  # past the last
            break
        top, bottom, height, marked = browser.run(_FOCUS, focused)
        where = focused.get_attribute("outerHTML")[:100]
        assert bottom > 0 and top < height, where
        assert marked, where


_FOCUS = """
    const [one] = arguments, box = one.getBoundingClientRect();
    const outlined = (part, style = getComputedStyle(part)) =>
        style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    const mark = one.querySelector(":scope > circle, :scope > use");
    const marked = outlined(one) || (mark !== null && parseFloat(getComputedStyle(mark).strokeWidth) >= 3);
    return [box.top, box.bottom, innerHeight, marked];
"""


@pytest.mark.parametrize("kind", KINDS)
def test_controls_are_large_enough_for_a_finger(any_size, kind):
    any_size.size(PHONE)
    show(any_size, kind)
    small = [
        f"{element.get_attribute('outerHTML')[:80]}: {element.size}"
        for element in any_size.shown("button, summary, label:has(input), input[type=search], header a, .switches a")
        if min(element.size.values()) < 24
    ]
    assert not small


def test_the_chart_tells_kinds_of_points_apart_without_colour(browser):
    show(browser, "benchmark")
    ground = browser.run("return getComputedStyle(document.querySelector('.chart')).backgroundColor")
    kinds = set()
    for kind in ("published", "context", "measured"):
        mark = browser.one(f"a.point.{kind}").find_element(By.CSS_SELECTOR, "circle, use")
        kinds.add((mark.tag_name, browser.run("return getComputedStyle(arguments[0]).fill", mark) != ground))
    assert kinds == {("circle", True), ("circle", False), ("use", True)}


def test_every_picture_and_drawing_has_words_for_it(browser):
    show(browser, "pictures")
    assert all(picture.get_attribute("alt").strip() for picture in browser.all("main img"))
    for kind in ("home", "benchmark", "model", "papers"):
        show(browser, kind)
        drawings = browser.all("svg")
        assert drawings
        for drawing in drawings:
            assert drawing.get_attribute("aria-hidden") == "true" or drawing.accessible_name
