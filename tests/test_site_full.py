"""The web site at full size: every published figure and a hundred records, by keyboard, on a phone and on a desktop."""

from collections import Counter

import pytest
from selenium.webdriver.common.keys import Keys

from bench.records.published import figures
from tests.browser import Browser
from tests.conftest import DESKTOP, PHONE

pytestmark = pytest.mark.slow

CONTEXT = "benchmarks/pascal-voc--val--in-context--miou.html"
STATUS = ".filters [role=status]"
FIELDS = (
    *("model", "num", "rank", "num95 % interval", "labelsSupervision", "countedCounted with"),
    *("numReproduced", "status", "paper", "date"),
)
"""Of a row on a phone, from the top down."""


@pytest.fixture
def wide(chromium, full_site):
    """The browser with the whole site. No page may write to the console or ask for anything but files."""
    browser = Browser(chromium, full_site)
    browser.reset()
    browser.size(DESKTOP)
    yield browser
    said, asked = browser.logs()
    assert not said
    assert {address.partition(":")[0] for address in asked} == {"file"}


def largest(site):
    """The largest page of benchmarks, below the site's root."""
    return max((site / "benchmarks").glob("*.html"), key=lambda path: path.stat().st_size).relative_to(site).as_posix()


def test_pages_stay_small(full_site):
    sizes = {path.relative_to(full_site).as_posix(): path.stat().st_size for path in full_site.rglob("*.html")}
    assert len(sizes) > 300
    assert max(sizes.values()) < 1_000_000
    assert sizes["index.html"] < 150_000
    assert sizes["matrix.html"] < 400_000


@pytest.mark.parametrize("width, scheme", [(PHONE, "light"), (DESKTOP, "dark")])
def test_axe_finds_nothing_and_no_page_is_wider_than_the_screen(wide, width, scheme):
    wide.size(width)
    wide.media(scheme=scheme)
    for page in (largest(wide.site), "matrix.html", "protocols/in-context.html", "protocols.html"):
        wide.open(page)
        assert wide.run("return document.documentElement.scrollWidth") <= width, page
        for box in wide.run(_STICK_OUT):
            raise AssertionError(f"{page}: {box}")
        wide.run(_CUT)
        assert wide.findings() == [], page


_CUT = """
    const many = ".ranking tr:nth-child(n + 16), .point:nth-child(n + 30), .cross tr > :nth-child(n + 9)";
    for (const one of document.querySelectorAll(many)) one.remove();
"""
"""Rows, points and columns are alike, so the first of each kind will do."""


_STICK_OUT = """
    const wide = document.documentElement.clientWidth;
    return [...document.querySelectorAll("table.folds td, table.folds th, .filters *, .answer *")]
        .filter((one) => one.checkVisibility() && !one.closest(".vh, thead, .none, option"))
        .filter((one) => one.getBoundingClientRect().right > wide + 1)
        .map((one) => one.outerHTML.slice(0, 150)).slice(0, 3);
"""


def test_rows_are_filtered_by_keyboard_and_the_filter_is_carried_along(wide):
    mine = [one for one in figures() if (one.dataset, one.protocol, one.metric) == ("pascal-voc", "in-context", "mIoU")]
    (backbone, count), *_ = Counter(one.backbone for one in mine).most_common()
    total = len(mine) + 25
    wide.open(CONTEXT)
    assert wide.texts(STATUS) == [f"{total} rows"]
    wide.run("arguments[0].focus()", wide.one(".filters select[name=labels]"))
    assert wide.press(Keys.TAB).get_dom_attribute("name") == "backbone"
    wide.press(backbone)  # a native select finds what is typed
    assert wide.texts(STATUS) == [f"{count} of {total} rows; ranks are those among all rows"]
    rows = wide.shown("table.ranking tr[id]")
    assert len(rows) == count and {row.get_dom_attribute("data-backbone") for row in rows} == {backbone}
    assert {point.get_dom_attribute("href")[1:] for point in wide.shown("a.point")} <= {
        row.get_dom_attribute("id") for row in rows
    }
    assert wide.page.endswith(f"?backbone={backbone.replace('/', '%2F')}")
    wide.run("arguments[0].focus()", wide.one("input[name=comparable]"))
    wide.press(Keys.SPACE)
    left = sum(one.comparable for one in mine if one.backbone == backbone)
    assert wide.texts(STATUS) == [f"{left} of {total} rows; ranks are those among all rows"]
    assert wide.press(Keys.TAB).text == "Reset"
    wide.link("knn").click()
    wide.until(lambda: "--knn--" in wide.page and wide.texts(STATUS))
    assert wide.one("select[name=backbone]").get_property("value") == ""  # no row of this page has it
    assert f"ignored, as no row here has it: backbone “{backbone}”" in wide.texts(STATUS)[0]
    assert wide.one("input[name=comparable]").is_selected()
    wide.one(".filters [type=reset]").click()
    assert wide.texts(STATUS) == [f"{len(wide.all('table.ranking tr[id]'))} rows"]
    assert "?" not in wide.page and wide.focused.get_dom_attribute("name") in ("labels", "backbone")


def test_every_phrase_of_how_a_figure_was_counted_is_a_filter_and_its_contrary(wide):
    mine = [one for one in figures() if (one.dataset, one.protocol, one.metric) == ("pascal-voc", "clustering", "mIoU")]
    wide.open("benchmarks/pascal-voc--val.html?detail=CRF")
    (with_it,) = wide.texts(STATUS)
    assert int(with_it.split()[0]) == sum("CRF" in one.detail for one in mine) > 0
    wide.open("benchmarks/pascal-voc--val.html?detail=%21CRF")
    (without,) = wide.texts(STATUS)
    assert int(with_it.split()[0]) + int(without.split()[0]) == int(without.split()[2])
    wide.open("benchmarks/pascal-voc--val.html?detail=nothing+has+it&labels=none")
    (said,) = wide.texts(STATUS)
    assert 0 < int(said.split()[0]) == len(wide.shown("table.ranking tr[id]"))
    assert said.endswith("ignored, as no row here has it: counted with “nothing has it”")


def test_a_reason_that_many_rows_share_is_said_once_and_reached_by_a_link(wide):
    wide.open(CONTEXT)
    link = next(iter(wide.all("tr[id] a.footnote")))
    link.click()
    note = wide.until(lambda: wide.one(".differs li:target"))
    assert note.is_displayed() and len(note.text) > 20
    notes = wide.texts(".differs li")
    assert len(notes) == len(set(notes)) < len(wide.all("a.footnote"))


_ON_ALL = """
const [table] = document.querySelectorAll("table.cross");
const shown = (cell) => !cell.hidden;
const heads = [...table.tHead.rows[0].cells];
const asked = new Set(heads.filter(shown).map((head) => head.dataset.dataset).filter(Boolean));
return [...table.tBodies[0].rows].filter(shown).every((row) => [...asked].every((name) =>
  heads.some((head, at) => shown(head) && head.dataset.dataset === name && row.cells[at].textContent)));
"""
"""Whether each row that is shown has a figure on every data set that is shown."""


def test_the_matrix_is_filtered_sorted_and_keeps_its_heads_in_sight(wide):
    wide.open("matrix.html")
    (everything,) = wide.texts(STATUS)
    wide.one("select[name=dataset]").send_keys("PASCAL VOC 2012 val")
    wide.one("input[name=unsupervised]").click()
    (some,) = wide.texts(STATUS)
    assert some != everything and int(some.split()[0]) == len(wide.shown("table.cross tbody tr")) > 5
    heads = wide.shown("table.cross thead th[data-dataset]")
    assert {head.get_dom_attribute("data-dataset") for head in heads} == {"PASCAL VOC 2012 val"}
    assert all(head.get_dom_attribute("data-unlabelled") is not None for head in heads)
    wide.one(".filters [type=reset]").click()
    wide.open("matrix.html?dataset=PASCAL+VOC+2012+val&dataset=COCO-Stuff-27+val&protocol=nonsense")
    (both,) = wide.texts(STATUS)
    assert "with figures on both data sets" in both and "protocol “nonsense”" in both
    heads = [head.get_dom_attribute("data-dataset") for head in wide.shown("table.cross thead th[data-dataset]")]
    assert len(set(heads)) == 2 and 0 < int(both.split()[0]) == len(wide.shown("table.cross tbody tr"))
    assert wide.run(_ON_ALL)
    wide.one(".filters [type=reset]").click()
    button = next(one for one in wide.shown("table.cross thead button") if "clustering" in one.text)
    wide.run("arguments[0].focus()", button)
    wide.press(Keys.ENTER)
    place = wide.run("return arguments[0].closest('th').cellIndex", button)
    column = wide.run(
        "return [...arguments[0].tBodies[0].rows].map((row) => row.cells[arguments[1]].textContent)",
        wide.one("table.cross"),
        place,
    )
    values = [float(text) for text in column if text]
    assert (
        values == sorted(values, reverse=True)
        and len(values) > 20
        and column[: len(values)] == [text for text in column if text]
    )
    assert wide.run(_SCROLLED) == [True, True]
    link = wide.shown("table.cross td a")[0]
    value = link.text
    link.click()
    row = wide.until(lambda: wide.one("tr:target"))
    assert value in row.text


_SCROLLED = """
    const box = document.querySelector(".crossed");
    const [head, first] = ["thead th:nth-child(3)", "tbody tr:nth-child(3) th"].map((one) => box.querySelector(one));
    const places = () => [head.getBoundingClientRect().top, first.getBoundingClientRect().left];
    const before = places();
    box.scrollTo({top: 400, left: 300, behavior: "instant"});
    const after = places();
    box.scrollTo({top: 0, left: 0, behavior: "instant"});
    return before.map((value, axis) => Math.abs(value - after[axis]) < 2);
"""


def test_a_phone_shows_one_data_set_of_the_matrix(wide):
    wide.size(PHONE)
    wide.open("matrix.html")
    assert (
        len({head.get_dom_attribute("data-dataset") for head in wide.shown("table.cross thead th[data-dataset]")}) == 1
    )
    assert wide.shown("table.cross tbody tr")


def test_every_row_of_a_folded_table_has_its_fields_in_the_same_order(wide):
    wide.size(PHONE)
    wide.open(CONTEXT)
    orders = wide.run(_ORDERS)
    assert len(orders) > 100
    for order in orders:
        assert order == [name for name in FIELDS if name in order]


_ORDERS = """
    const name = (cell) => cell.className.split(" ")[0] + (cell.dataset.name ?? "");
    return [...document.querySelectorAll("table.ranking tr[id]")].map((row) => [...row.cells]
        .filter((cell) => cell.checkVisibility() && !cell.classList.contains("none"))
        .map((cell) => [cell.getBoundingClientRect(), name(cell)])
        .sort(([a], [b]) => a.top - b.top || a.left - b.left).map(([, told]) => told));
"""


def test_the_best_figure_without_labels_stands_first_with_how_it_was_counted(wide):
    wide.open("benchmarks/pascal-voc--val.html")
    said = wide.one(".answer").text
    rows = [one for one in figures() if (one.dataset, one.protocol, one.metric) == ("pascal-voc", "clustering", "mIoU")]
    best = max(one.value for one in rows if not one.comparable and one.supervision == "none")
    assert f"{best:g}" in said and "fully unsupervised" in said and "counted otherwise" in said
    assert wide.one(".answer").location["y"] < wide.one("[data-chart]").location["y"]
    wide.one(".answer .note a").click()
    wide.until(lambda: wide.page == "protocols/clustering.html")
    assert {"In plain words", "Surprises", "Run it", "Benchmarks"} <= set(wide.texts("h2"))
    assert "bench run --protocol clustering" in wide.one("[data-copy] code").text
