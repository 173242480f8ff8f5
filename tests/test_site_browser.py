"""The web site in a real browser: what its readers click, type and see, on a phone and on a desktop."""

from itertools import pairwise

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from bench.base.escaping import HARMLESS, printable
from tests.site_records import HOSTILE

pytestmark = pytest.mark.slow

VOC = "benchmarks/pascal-voc--val.html"
SUP = "models/maskcontrast-sup.html"
TITLE = "MaskContrast (Saliency)"
PAPER = "Unsupervised Semantic Segmentation by Contrasting Object Mask Proposals"


def arrives(browser, heading):
    """Whether a page of this heading comes up."""
    return browser.until(lambda: browser.one("h1").text == heading)


# --- moving around ---


def test_from_the_first_page_to_a_benchmark_its_model_its_paper_its_pictures_and_back(browser):
    browser.open()
    browser.link("PASCAL VOC 2012").click()
    assert arrives(browser, "PASCAL VOC 2012 val")
    browser.link(TITLE).click()
    assert arrives(browser, "maskcontrast-sup")
    assert browser.page == SUP
    browser.link(PAPER).click()
    assert arrives(browser, PAPER)
    browser.driver.back()
    assert arrives(browser, "maskcontrast-sup")
    browser.link("Pictures of this run").click()
    assert arrives(browser, "Pictures")
    pictures = browser.all("main img")
    assert len(pictures) > 12
    for picture in pictures:
        browser.run("arguments[0].scrollIntoView()", picture)  # they are loaded when they are near
        browser.until(lambda picture=picture: picture.get_property("naturalWidth") > 0)
    browser.one(".crumbs a:last-child").click()
    assert arrives(browser, "maskcontrast-sup")
    browser.one("header nav a").click()
    browser.until(lambda: browser.page == "index.html")
    assert browser.texts("header nav [aria-current=page]") == ["Benchmarks"]


def test_the_first_tab_skips_to_the_content(browser):
    browser.open(VOC)
    skip = browser.press(Keys.TAB)
    assert skip.text == "Skip to the content"
    assert skip.rect["y"] >= 0
    assert browser.press(Keys.ENTER).tag_name == "main"


# --- tables ---


def column(browser, number, body=1):
    """The texts of a column of the ranking's comparable rows (or the context's), their first line."""
    cells = browser.texts(f"table.ranking tbody:nth-of-type({body}) tr[id] > :nth-child({number})")
    return [cell.split("\n")[0] for cell in cells]


def header(browser, text):
    """The button in the header of the ranking's column of this name."""
    return next(one for one in browser.all("table.ranking thead button") if one.get_property("textContent") == text)


def sorts(browser):
    """The headers that say that the table is sorted by them."""
    found = browser.all("table.ranking th[aria-sort]")
    return [(header.text.split("\n")[0].strip(), header.get_attribute("aria-sort")) for header in found]


def test_a_click_sorts_by_number_and_a_second_one_the_other_way(browser):
    browser.open(VOC)
    assert sorts(browser) == [("Rank", "ascending")]
    context = set(column(browser, 2, body=2))
    button = header(browser, "mIoU")
    button.click()
    assert sorts(browser) == [("mIoU", "descending")]
    values = [float(value) for value in column(browser, 3)]
    assert values == sorted(values, reverse=True)
    button.click()
    assert sorts(browser) == [("mIoU", "ascending")]
    assert [float(value) for value in column(browser, 3)] == sorted(values)
    assert column(browser, 3)[0] == "9.50"  # as a text it would be the last
    assert set(column(browser, 2, body=2)) == context, "rows of other protocols stay apart"


def test_the_keyboard_sorts_too(browser):
    browser.open(VOC)
    button = header(browser, "Model")
    browser.run("arguments[0].focus()", button)
    browser.press(Keys.ENTER)
    assert sorts(browser) == [("Model", "ascending")]
    names = [name for name in column(browser, 2) if name.isascii()]
    assert names == sorted(names, key=str.lower)
    browser.press(Keys.SPACE)
    assert sorts(browser) == [("Model", "descending")]
    assert [name for name in column(browser, 2) if name.isascii()] == names[::-1]
    assert browser.focused == button
    assert rank_again(browser) == sorted(rank_again(browser), key=lambda name: int(name.removeprefix("row-")))


def rank_again(browser):
    """The rows from top to bottom, sorted by rank."""
    while sorts(browser) != [("Rank", "ascending")]:
        header(browser, "Rank").click()
    return [row.get_attribute("id") for row in browser.all("table.ranking tr[id]")]


def test_rows_without_a_value_come_last_either_way(desktop):
    desktop.open(VOC)
    button = header(desktop, "Reproduced")
    number = 1 + desktop.run("return arguments[0].closest('th').cellIndex", button)
    for order in ("descending", "ascending"):
        button.click()
        values = column(desktop, number)
        assert sorts(desktop) == [("Reproduced", order)]
        assert "–" not in values[:2]
        assert set(values[2:]) == {"–"}


def test_ties_are_shown_as_ties(desktop):
    desktop.open(VOC)
    rank = dict(zip(column(desktop, 2), column(desktop, 1), strict=True))
    assert rank["steady"] == rank["level"] != rank[TITLE]
    assert rank["steady"].endswith("=")
    assert set(column(desktop, 1, body=2)) == {"–"}


# --- filters ---


def tick(browser, name):
    browser.one(f"input[name={name}]").click()


def choose(browser, name, value):
    """Choose what a filter lets through; an empty value is anything."""
    Select(browser.one(f"select[name={name}]")).select_by_value(value)


def row_of(point):
    """The id of the row that a point of the chart leads to."""
    return point.get_dom_attribute("href").removeprefix("#")


def points(browser):
    """The rows that the points lead to which the chart shows."""
    return {row_of(point) for point in browser.shown("a.point")}


def test_only_the_fully_unsupervised_are_left_in_table_and_chart(browser):
    browser.open(VOC)
    everything = points(browser)
    choose(browser, "labels", "none")
    seen = {text.split("\n")[0] for text in browser.texts("table.ranking tbody .labels")}
    assert seen == {"none"}
    rows = {row.get_attribute("id") for row in browser.shown("table.ranking tr[id]")}
    assert points(browser) < everything
    assert points(browser) <= rows
    total = len(browser.all("table.ranking tr[id]"))
    assert browser.texts(".filters [role=status]") == [f"{len(rows)} of {total} rows; ranks are those among all rows"]
    choose(browser, "labels", "")
    assert points(browser) == everything


def test_only_this_protocol_leaves_no_context(browser):
    browser.open(VOC)
    assert "Counted otherwise, so not ranked" in browser.one("table.ranking").text
    browser.one("input[name=comparable]").send_keys(Keys.SPACE)
    assert "Counted otherwise, so not ranked" not in browser.one("table.ranking").text
    assert column(browser, 2, body=2) == []
    assert not browser.shown("a.point.context")


def test_filters_are_kept_when_the_protocol_changes(browser):
    browser.open(VOC)
    tick(browser, "comparable")
    browser.link("linear").click()
    browser.until(lambda: "linear" in browser.page and browser.texts(".filters [role=status]"))
    assert browser.one("input[name=comparable]").is_selected()
    assert browser.one("select[name=labels]").get_property("value") == ""
    assert column(browser, 2, body=2) == []


# --- search ---


@pytest.mark.parametrize(
    "typed, found",
    [
        ("maskcontrast (sal", "MaskContrast (Saliency), linear classifier"),
        ("2102.06191", PAPER),
        ("pascal voc", "PASCAL VOC 2012"),
        ("STEADY", "steady"),
        ("<script>", HOSTILE),
    ],
)
def test_search_finds_models_papers_and_data_sets(browser, typed, found):
    browser.open()
    browser.one("#query").send_keys(typed)
    titles = [title.strip() for title in browser.texts("#found a > bdi")]
    assert printable(found, HARMLESS) in titles
    assert browser.texts(".search [role=status]") == [f"{len(titles)} found"]


def test_a_hit_is_reached_by_keyboard(browser):
    browser.open()
    browser.one("#query").send_keys("steady")
    hit = browser.press(Keys.ARROW_DOWN)
    assert hit.text.startswith("steady")
    assert browser.press(Keys.ARROW_UP).get_attribute("id") == "query"
    browser.press(Keys.ENTER)
    browser.until(lambda: browser.page == "models/steady.html")


def test_no_hit_is_said_and_escape_clears(desktop):
    desktop.open()
    desktop.one("#query").send_keys("zzz nothing")
    assert desktop.texts(".search [role=status]") == ["0 found"]
    assert desktop.all("#found li") == []
    assert desktop.press(Keys.ESCAPE).get_property("value") == ""
    assert desktop.one(".search [role=status]").text == ""


def test_lists_are_narrowed_by_words_and_classes_laid_over_images_by_keyboard(browser):
    browser.open("models.html")
    every = len(browser.all("table tbody tr"))
    browser.one("#narrow").send_keys("resnet-50 maskcontrast")
    shown = [row.text for row in browser.all("table tbody tr") if row.is_displayed()]
    assert 0 < len(shown) < every and all("ResNet-50" in row for row in shown)
    assert browser.texts("form.narrow [role=status]") == [f"{len(shown)} of {every}"]
    browser.press(Keys.TAB)  # to the first header: Enter in the box would have sent nothing
    assert browser.page == "models.html"
    browser.open(min(path.relative_to(browser.site).as_posix() for path in browser.site.glob("pictures/*.html")))
    over, mask = browser.one(".stack").rect, browser.one(".stack img + img")
    assert all(abs(mask.rect[side] - over[side]) < 1 for side in over)
    opacity = float(mask.value_of_css_property("opacity"))
    browser.one("#veil").send_keys(Keys.ARROW_RIGHT)
    assert float(mask.value_of_css_property("opacity")) > opacity


# --- chart ---


def point_of(browser, text):
    """The first point of the chart whose name for screen readers starts with a text."""
    return next(point for point in browser.all("a.point") if point.accessible_name.startswith(text))


def test_the_mouse_brings_up_a_point_s_tooltip_and_takes_it_away(browser):
    browser.open(VOC)
    tip = browser.one("[data-tip]")
    assert not tip.is_displayed()
    browser.point_at(point_of(browser, "MaskContrast with BigBiGAN masks").find_element(By.CSS_SELECTOR, "circle"))
    browser.until(tip.is_displayed)
    assert tip.text.startswith("MaskContrast with BigBiGAN masks\n36.5 published, 2021-05")
    assert "supervision: none" in tip.text
    assert "Finding an Unsupervised Image Segmenter" in tip.text
    box, width = tip.rect, browser.run("return innerWidth")
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    browser.press(Keys.ESCAPE)
    assert not tip.is_displayed()
    browser.point_at(point_of(browser, TITLE).find_element(By.CSS_SELECTOR, "circle"))
    browser.until(tip.is_displayed)
    browser.point_at(browser.one("h1"))
    browser.until(lambda: not tip.is_displayed())


def test_the_keyboard_walks_through_the_points(browser):
    browser.open(VOC)
    browser.run("arguments[0].focus()", browser.all(".answer a")[-1])
    tip, point = browser.one("[data-tip]"), browser.press(Keys.TAB)
    assert "point" in point.get_attribute("class").split()
    seen = []
    for _ in range(4):
        assert tip.is_displayed()
        name, value = point.accessible_name.split(": ")
        assert tip.text.split("\n")[:2] == [name, value]
        seen.append(float(point.get_attribute("data-x") or browser.run("return arguments[0].getBBox().x", point)))
        point = browser.press(Keys.ARROW_RIGHT)
    assert all(a <= b + 20 for a, b in pairwise(seen)), "in the order of their dates"
    assert browser.press(Keys.HOME).accessible_name == browser.press(Keys.ARROW_LEFT).accessible_name
    browser.press(Keys.ESCAPE)
    assert not tip.is_displayed()
    last = browser.press(Keys.END)
    assert tip.is_displayed()
    browser.press(Keys.ENTER)
    row = browser.until(lambda: browser.one("tr:target"))
    assert row.get_attribute("id") == row_of(last)
    assert "point" not in (browser.press(Keys.TAB).get_attribute("class") or "").split(), "a chart is one stop"


def test_a_click_and_a_key_switch_the_metric(browser):
    browser.open(VOC)
    browser.link("Pixel accuracy").click()
    browser.until(lambda: browser.page.startswith("benchmarks/pascal-voc--val--clustering--pixel-accuracy.html"))
    assert browser.texts(".switches [aria-current=page]") == ["clustering", "Pixel accuracy"]
    assert browser.one("#over-time").text.startswith("Pixel accuracy over")
    browser.run("arguments[0].focus()", browser.link("mIoU"))
    browser.press(Keys.ENTER)
    browser.until(lambda: browser.page.startswith(VOC))
    assert browser.one("#over-time").text.startswith("mIoU over")


def test_all_that_the_chart_draws_is_in_the_table(desktop):
    desktop.open(VOC)
    drawn = desktop.all("a.point")
    assert len(drawn) > 20
    for point in drawn:
        row = desktop.one(f"tr[id={row_of(point)}]")
        title, _, value = point.accessible_name.rpartition(": ")
        assert title and row.find_element(By.TAG_NAME, "th").text.startswith(title[:20])
        assert value.split()[0] in row.text


def height(mark, name="y"):
    """Where a mark of the chart is, in percent of its height."""
    return float((mark.get_dom_attribute(name) or mark.get_dom_attribute("cy")).removesuffix("%"))


def test_the_running_best_follows_the_filter(browser):
    browser.open(VOC)
    for name, best in (("MaskContrast (Saliency): 44.2 published", "circle"), ("level: 41.40 measured", "use")):
        mark = point_of(browser, name).find_element(By.CSS_SELECTOR, best)
        assert height(browser.all("[data-best] line")[-1], "y2") == pytest.approx(height(mark))
        choose(browser, "labels", "none")


# --- commands ---


def test_the_command_is_copied_or_selected(desktop):
    desktop.open(SUP)
    desktop.one("[data-copy] button").click()
    both = "return ['button', '[role=status]'].map((one) => document.querySelector(`[data-copy] ${one}`).textContent)"
    desktop.until(lambda: desktop.run(both) in (["Copied"] * 2, ["Selected"] * 2))
