"""The web site: its pages, their links, and figures that are those of the other formats."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from bench.records.published import figures
from bench.records.record import read_all, write
from bench.report.formats import leaderboard, seed_table
from bench.report.site import write_site
from bench.report.site.content import dataset_title
from bench.scoring.metric_names import metric_name
from tests import synthetic
from tests.markup import cells, parse
from tests.site_records import few_figures
from tests.synthetic import make_record

LINEAR = {"id": "linear", "deterministic": True}
FEW = few_figures()


def build(folder, records=(), stored=None, table=FEW):
    """Write records, and a site of them and of published figures; returns its folder."""
    results, site, said = folder / "results", folder / "site", []
    results.mkdir(exist_ok=True)
    for record in records:
        write(record, synthetic.rows_of(record), results)  # whatever the rows give: nothing is counted again here
    stored, problems = read_all(results) if stored is None else (stored, [])
    write_site(site, table, stored, results, problems, said.append)
    assert not said
    return site


def page(site, name):
    return parse((site / name).read_text(encoding="utf-8"))


def typical():
    """Records of every kind: reproduced, below, limited, modified, one seed, of video, of another model."""
    whole = make_record(value=44.3)
    whole["confusion"] = {"classes": ["background", "cat", "cow"], "mean": [[90, 0, 0], [10, 40, 0], [0, 60, 9]]}
    video = make_record(model="of-video", seeds=1, per_class={}, protocol={"id": "davis", "deterministic": True})
    video["dataset"] |= {"id": "davis", "split": "val-2017", "sequences": 2}
    video["metrics"] = {"JF_mean": video["metrics"]["mIoU"], "J_decay": video["metrics"]["mIoU"]}
    video["per_sequence"] = {"bear": {"frames": 9, "J_mean": 50.0}, "camel": {"frames": 9, "J_mean": 61.25}}
    return [
        whole,
        video,
        make_record(model="maskcontrast-unsup", value=31.0),
        make_record(model="maskcontrast-sup-linear", value=63.9, seeds=1, protocol=LINEAR),
        make_record(model="mine", value=44.9),
        make_record(model="mine", value=41.0, fingerprint="e" * 64, dataset={"limited": True, "images": 40}),
        make_record(model="mine", value=42.0, fingerprint="d" * 64, protocol={"modified": True}),
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build(tmp_path_factory.mktemp("typical"), typical(), table=figures())


@pytest.fixture(scope="module")
def data(site):
    results = site.parent / "results"
    return leaderboard(figures(), read_all(results)[0], results)


@pytest.fixture(scope="module")
def trees(site):
    """Every page, parsed once."""
    return {path: parse(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_every_page_is_well_formed_and_has_what_every_page_needs(trees):
    assert len(trees) > 60
    for path, tree in trees.items():
        assert tree.one("html").attributes["lang"] == "en"
        assert tree.one("head").one("title").text and len(tree.all("h1")) == 1
        assert tree.one("main").attributes["id"] == "main" and tree.all("a", class_="skip", href="#main")
        assert all(nav.attributes["aria-label"] for nav in tree.all("nav"))
        levels = [int(element.tag[1]) for element in tree.walk() if re.fullmatch(r"h[1-6]", element.tag)]
        assert all(after - before <= 1 for before, after in pairwise(levels)), path
        for table in tree.all("table"):
            assert all(header.attributes.get("scope") for header in table.all("th"))
        for region in tree.all("div", role="group"):
            assert region.attributes["tabindex"] == "0"
            assert "aria-label" in region.attributes or "aria-labelledby" in region.attributes


def test_every_link_leads_somewhere_and_every_asset_is_the_site_s_own(site, trees):
    ids = {path: {e.attributes["id"] for e in tree.walk() if "id" in e.attributes} for path, tree in trees.items()}
    for path, tree in trees.items():
        for element in tree.walk():
            for name in ("href", "src"):
                address = element.attributes.get(name)
                if address is None:
                    continue
                parts = urlsplit(address)
                if parts.scheme:
                    assert (element.tag, name, parts.scheme in ("http", "https")) == ("a", "href", True), address
                    continue
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                assert target.is_file() and target.is_relative_to(site), (path, address)
                assert not parts.fragment or parts.fragment in ids[target], (path, address)


def test_nothing_is_loaded_from_elsewhere(site, trees):
    for path in (*site.rglob("*.css"), *site.rglob("*.js")):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.[a-z]|@import|url\(|fetch\(|XMLHttp", text), path
    for tree in trees.values():
        assert all("src" in script.attributes and not script.parts for script in tree.all("script"))
        assert not [name for element in tree.walk() for name in element.attributes if name.startswith("on")]


def rankings(site):
    """Title with split, protocol and metric → the rows of that page, each by the heads of its columns."""
    found = {}
    for path in (site / "benchmarks").glob("*.html"):
        tree = parse(path.read_text(encoding="utf-8"))
        if not tree.all("table", class_="ranking"):
            continue
        protocol, metric = [link.text for link in tree.all("a", aria_current="page")][-2:]
        heads = [head.text for head in tree.one("table", class_="ranking").one("thead").all("th")]
        rows = [row for row in cells(tree.one("table", class_="ranking")) if len(row) > 1]
        notes = {f"[{place}]": note.text for place, note in enumerate(_notes(tree), start=1)}
        lines = [dict(zip(heads, row, strict=True)) for row in rows]
        for line in lines:
            *said, last = line["Status"].split(" ")
            line["Status"] = " ".join([*said, notes.get(last, last)])
        found[tree.one("h1").text, protocol, metric] = lines
    return found


def _notes(tree):
    """What the rows of a page differ by, each said once."""
    return tree.one("section", class_="differs").all("li") if tree.all("section", class_="differs") else []


@pytest.mark.slow
def test_published_figures_and_their_outcomes_are_those_of_the_json(site, data):
    pages = rankings(site)
    for line in data["published"]:
        rows = pages[f"{dataset_title(line['dataset'])} {line['split']}", line["protocol"], metric_name(line["metric"])]
        value = f"{line['value']:.1f}" if round(line["value"], 1) == line["value"] else f"{line['value']:.2f}"
        status = line["status"] + (f" {' '.join(line['reason'].split())}" if line["reason"] else "")
        mine = [
            row
            for row in rows
            if row["Model"].startswith(line["model"]) and row[metric_name(line["metric"])] == value
            and row["Status"] == status and line["source"] in row["Paper"]
        ]  # fmt: skip
        assert mine, line
        reproduced = mine[0].get("Reproduced", "–")
        assert reproduced.split(" ")[0] == ("–" if line["measured"] is None else f"{line['measured']:.2f}")
        if line["difference"] is not None:
            assert reproduced.split(" ")[1].replace("−", "-") == f"{line['difference']:+.2f}"
    shown = sum(row["Status"].split(" ")[0] != "measured" for rows in pages.values() for row in rows)
    assert shown == len(data["published"])


def test_measured_figures_are_those_of_the_json(site, data):
    shown = {}
    for path in (site / "models").glob("*.html"):
        tree = parse(path.read_text(encoding="utf-8"))
        ids = [code.text for code in tree.one("p", class_="facts").all("code")]
        for row in cells(tree.one("table", class_="figures")) if ids else ():
            if row[4] != "–" and "measured with" not in row[-1]:
                shown.setdefault((ids[0], row[1].split()[0]), []).append((row[4], row[5]))
    for line in data["measured"]:
        bounds = f"{line['low']:.2f} – {line['high']:.2f} {line['covers']}"
        assert (f"{line['value']:.2f}", bounds) in shown[line["model"], line["protocol"]]
    assert sum(map(len, shown.values())) == len(data["measured"])


UNRUN = ("can be run here", "no weights to run")


def test_the_first_page_counts_the_outcomes(site, data):
    tree = page(site, "index.html")
    said = tree.one("p", class_="state").text
    counts = {status: count for status, count in data["counts"].items() if count}
    unrun = counts.pop("not run", 0)
    can, cannot = (int(found[1]) if (found := re.search(rf"(\d+) {words}", said)) else 0 for words in UNRUN)
    assert can + cannot == unrun and can > 0
    assert {status: int(re.search(rf"(\d+) {status}", said)[1]) for status in counts} == counts
    assert said.startswith(
        f"{len(figures())} published figures of {len({f.arxiv or f.paper for f in figures()})} papers"
    )
    assert "above" not in said and "7 runs of 5 models" in said  # no outcome that nothing has
    assert {"Image segmentation", "Video object segmentation"} <= {h.text for h in tree.all("h2")}


def test_the_first_page_stays_small(site):
    assert (site / "index.html").stat().st_size < 150_000


def figure_of(value, name="a", **more):
    """A published figure of clustering on PASCAL VOC."""
    known = next(one for one in figures() if one.value == 44.2 and one.comparable)
    more = {"supervision": "none", "init": "MoCo v2", "prior": "-", "card": ()} | more
    return replace(known, model=name, value=value, seed_table=False, **more)


def home_of(folder, table, records=()):
    return page(build(folder, records, table=table), "index.html")


REST = ", ".join(["mirror images"] * 20)
OTHERWISE = {"comparable": False, "note": "squashed to 320x320", "detail": ("CRF", REST)}


def test_the_first_screen_says_what_is_best_without_labels_and_how_it_was_counted(tmp_path):
    table = [
        figure_of(36.5, "own", date="2021-05"),
        figure_of(30.0, "earlier", date="2020-05"),
        figure_of(44.2, "with labels", supervision="ImageNet labels"),
        figure_of(45.0, "initialised with labels", init="ImageNet, supervised"),
        figure_of(53.4, "another count", date="2023-10", **OTHERWISE),
        figure_of(70.0, "a probe", protocol="linear"),
        figure_of(60.0, "many clusters", protocol="patch-overclustering-500"),
    ]
    tree = home_of(tmp_path, table)
    assert "6 no weights to run, 1 not comparable" in tree.one("p", class_="state").text
    higher, own = (part.text for part in tree.one("div", class_="pair").all("div", class_="figure"))
    assert "53.4" in higher and "another count" in higher and "2023" in higher
    assert f"Not counted as clustering is here: CRF; {REST}. Initialised with MoCo v2. Squashed to 320x320." in higher
    assert (
        "Highest by clustering as it is run here" in own
        and "36.5" in own
        and "own" in own
        and "2021" in own
        and "counted otherwise" not in own
    )
    assert "By clustering: K-means on one prototype per image" in own
    chart = tree.one("figure", class_="small-chart")
    assert len(chart.all("circle")) == 3 and "53.4 of another count" in chart.all("title")[0].text
    assert len(tree.one("ul", class_="strip-of").all("img")) == 9
    assert (tmp_path / "site/index.html").stat().st_size < 20_000


def test_the_page_of_a_card_says_what_the_card_says_and_whose_each_figure_is(tmp_path):
    dino = {"backbone": "ViT-S/16", "init": "DINO"}
    used = figure_of(36.5, "TokenCut", card=("dino-vits16",), paper="TokenCut", arxiv="2202.11539", **dino)
    site = build(tmp_path, table=[used, figure_of(30.0, "DINO", **dino)])
    tree = page(site, "models/dino-vits16.html")
    facts = tree.one("p", class_="facts").text
    assert tree.one("h1").text == "DINO" and "have seen: ImageNet-1k train" in facts
    assert tree.one("small", class_="of").text == "TokenCut"
    links = {link.text: link.attributes["href"] for link in tree.one("main").all("a")}
    own = next(url for text, url in links.items() if text.startswith("Emerging Properties"))
    assert "dino-vits16.html" in (site / "models" / own).read_text()
    assert "dino-vits16.html" in (site / "models" / links["DINO"]).read_text()


def test_a_better_figure_of_the_protocol_itself_stands_alone(tmp_path):
    table = [figure_of(36.5, "own"), figure_of(20.0, "another count", **OTHERWISE)]
    tree = home_of(tmp_path, table)
    (one,) = tree.one("div", class_="pair").all("div", class_="figure")
    assert "36.5" in one.text and "Best figure" in one.text
    assert not tree.all("figure", class_="small-chart")  # of two points


def test_the_first_page_of_one_s_own_runs_shows_the_best_of_them(tmp_path):
    record = make_record(model="mine", value=31.0)
    record["model"] |= {"supervision": "none", "initialisation": "random", "prior": "-"}
    tree = home_of(tmp_path, [], [record, make_record(model="other", value=50.0)])
    assert "published" not in tree.one("p", class_="state").text
    (one,) = tree.one("div", class_="pair").all("div", class_="figure")
    assert "31.00 measured" in one.text and "mine" in one.text


def test_the_first_page_has_the_best_of_each_protocol(site):
    table, *_ = page(site, "index.html").all("table")
    row = next(row for row in table.one("tbody").all("tr") if row.one("th").text == "PASCAL VOC 2012 val")
    measured = [cell.text for cell in row.all("td")][2]
    assert measured == "44.90 mine clustering"
    lines = {item.one("a").text: item.text for item in row.all("li")}
    # 53.4 of CAUSE-TR was measured under a protocol of its own
    assert "published 44.2 MaskContrast (Saliency), measured 44.90 mine" in lines["clustering"]
    assert "published 63.9 MaskContrast (Saliency), measured 63.90 MaskContrast (Saliency)" in lines["linear"]
    assert "published 65.5 MaskContrast (Saliency)" in lines["linear+crf"] and "measured" not in lines["linear+crf"]
    assert "counted otherwise only" in lines["fcn"]


def test_the_first_page_says_why_there_is_no_best_measured_figure(tmp_path):
    part, other = {"limited": True, "images": 40}, {"modified": True}
    records = [
        make_record(model="a", dataset=part | {"id": "parts"}),
        make_record(model="b", dataset={"id": "recipes"}, protocol=other),
        make_record(model="c", dataset=part | {"id": "both"}),
        make_record(model="d", dataset={"id": "both"}, protocol=other),
        make_record(model="e", dataset=part | {"id": "whole"}),
        make_record(model="f", value=31.0, dataset={"id": "whole"}),
    ]
    table, *_ = page(build(tmp_path, records, table=[]), "index.html").all("table")
    said = {row[0].removesuffix(" val"): row[3] for row in cells(table) if len(row) == 5}
    assert said["parts"] == "limited runs only"
    assert said["recipes"] == "modified runs only"
    assert said["both"] == "limited runs and modified runs only"
    assert said["whole"] == "31.00 f clustering"


def test_data_sets_stand_in_the_order_of_the_table_then_by_name(tmp_path):
    extra = (("zoo", "Zoo"), ("a-first", "zeppelins"), ("shapes", "shapes"))
    records = [make_record(model="mine", dataset={"id": name, "title": title}) for name, title in extra]
    records += [make_record(model="mine", dataset={"id": "pascal-voc", "split": "train"})]
    table, *_ = page(build(tmp_path, records, table=figures()), "index.html").all("table")
    rows = [row.one("th").text for row in table.one("tbody").all("tr")]
    first = ["PASCAL VOC 2012 val", "PASCAL VOC 2012 train", "COCO-Stuff-81 val", "ImageNet-S-50 test"]
    assert rows[:6] == [*first, "ImageNet-S-50 val", "ImageNet-S-300 val"]
    assert rows[-3:] == ["shapes val", "zeppelins val", "Zoo val"]
    assert len(rows) == len(set(rows)) > 20


def test_the_given_table_stands_on_its_paper_s_page(site):
    results = site.parent / "results"
    lines = seed_table(figures(), read_all(results)[0])
    rows = cells(page(site, "papers/2102.06191.html").one("table", class_="given"))
    assert len(rows) == 24
    for row, line in zip(rows, lines, strict=True):
        measured = "–" if line["measured"] is None else f"{line['measured']:.2f}"
        expected = (line["task"], line["shown_dataset"], line["shown_metric"], f"{line['value']:g}", line["model"])
        assert (*row[:6], row[7].split(line["reason"] or "\0")[0].strip()) == (*expected, measured, line["status"])


def test_names_in_folded_rows_are_those_of_the_columns(trees):
    found = set()
    for path, tree in trees.items():
        for table in tree.all("table", class_="folds"):
            names = [header.text for header in table.one("thead").all("th")]
            for row in (row for body in table.all("tbody") for row in body.all("tr")):
                # a data set's name spans its rows, so only their ends are in line
                columns = [cell for cell in row.walk() if cell.tag in ("td", "th")]
                for cell, name in zip(columns[::-1], names[::-1], strict=False):
                    assert cell.attributes.get("data-name", name) == name, path
                    found.add(cell.attributes.get("data-name"))
    assert {"95 % interval", "Supervision", "Reproduced", "Best measured here", "Source", "J mean"} <= found


def test_each_paper_has_a_page_with_all_its_figures(site):
    papers = {link.text: link.attributes["href"] for link in page(site, "papers.html").one("table").all("a")}
    for name in {figure.paper for figure in figures()}:
        rows = [row for row in cells(page(site, papers[name]).all("table")[-1]) if len(row) > 1]
        assert len(rows) == sum(figure.paper == name for figure in figures())


def test_a_model_s_page_has_all_of_its_run(site):
    tree = page(site, "models/maskcontrast-sup.html")
    text = tree.one("main").text
    assert "bench run --model maskcontrast-sup --dataset pascal-voc --split val --protocol clustering" in text
    assert make_record()["protocol"]["fingerprint"] in text and "saliency_threshold" in text
    bars = {row[0]: row[1:3] for row in cells(tree.one("table", class_="bars"))}
    assert bars["cat"] == ["46.0", "46.1"] and bars["cow"] == ["0.1", "0.1"]
    matrix = cells(tree.one("table", class_="matrix"))
    assert matrix == [["background", "90", "", ""], ["cat", "10", "40", ""], ["cow", "", "60", "100"]]
    band, dots = tree.one("table", class_="spread").one("rect"), tree.one("table", class_="spread").all("circle")
    places = [float(dot.attributes["cx"].rstrip("%")) for dot in dots]
    assert places == sorted(places) and places[2] == 50.0 and len(places) == 5
    assert float(band.attributes["x"].rstrip("%")) < places[0]  # the interval is wider than the seeds lie apart


def test_a_large_confusion_matrix_is_shown_as_its_largest_confusions(tmp_path):
    names = [f"class {n}" for n in range(101)]
    counts = [[1000 if i == j else 0 for j in range(101)] for i in range(101)] + [[0] * 101]
    counts[7][3], counts[101][5] = 3000, 250
    record = make_record(model="mine", per_class=dict.fromkeys(names, 50.0))
    tree = page(
        build(tmp_path, [record | {"confusion": {"classes": names, "mean": counts}}], table=[]), "models/mine.html"
    )
    assert not tree.all("table", class_="matrix")
    (details,) = tree.all("details", class_="confusion")
    assert cells(details.one("table")) == [["class 3", "class 7", "75.0"], ["class 5", "unmatched", "20.0"]]


def test_a_run_tells_what_else_its_record_knows(tmp_path):
    more = {"training": [{"epoch": 3, "loss": [0.125] * 1000}], "solver": {"library": "faiss"}, "fitted_on": {"a": 1.5}}
    record = make_record(model="mine") | more
    tree = page(build(tmp_path, [record], table=[]), "models/mine.html")
    facts = {}
    for part in [part for one in tree.all("details", class_="recipe") for part in one.all("section")]:
        names = [element.text for element in part.all("dt")]
        # a hash is folded away behind its beginning
        said = [(element.all("code") or [element])[-1].text for element in part.all("dd")]
        facts[part.one("h3").text] = dict(zip(names, said, strict=True))
    assert facts["Training"]["epoch"] == "3" and facts["Fitted on"] == {"a": "1.5"}
    assert facts["Training"]["loss"].startswith("0.125, 0.125") and len(facts["Training"]["loss"]) < 700
    fingerprint, manifest = record["protocol"]["fingerprint"], record["dataset"]["manifest"]
    probe = "none (labels only name clusters)"
    said = {"fingerprint": fingerprint, "labels read by its probe": probe, "solver gap": "0", "library": "faiss"}
    assert facts["Protocol"] == said
    assert facts["Preset"]["clusters"] == "20" and facts["Data"]["manifest"] == manifest


def test_a_run_on_video_shows_its_sequences(site):
    tree = page(site, "models/of-video.html")
    assert cells(tree.one("table", class_="bars")) == [["bear", "9", "50"], ["camel", "9", "61.2"]]
    assert "Video object segmentation" in page(site, "index.html").one("main").text


def test_the_key_of_a_chart_has_the_signs_that_occur(site, tmp_path):
    limited = make_record(model="mine", dataset={"id": "mine", "limited": True, "images": 40})
    part = build(tmp_path, [limited], table=[])
    signs = [
        "published",
        "published, with labels in training or not plainly without",
        "measured here, with its 95 % interval",
        "counted otherwise",
        "measured, counted otherwise",
    ]
    signs += ["best ranked figure without labels in training, up to each date"]
    shown = [page(part, "benchmarks/mine--val.html"), page(site, "benchmarks/pascal-voc--val.html")]
    keys = [[sign.text for sign in tree.one("ul", class_="key").all("li")] for tree in shown]
    assert keys == [["measured, counted otherwise"], signs]


def test_a_chart_says_which_date_it_goes_by(site, tmp_path):
    own = build(tmp_path, [make_record(model="mine", dataset={"id": "mine"})], table=[])
    assert page(site, "benchmarks/pascal-voc--val.html").one("h2", id="over-time").text == "mIoU over publication date"
    assert page(own, "benchmarks/mine--val.html").one("h2", id="over-time").text == "mIoU over the day of the run"


def test_where_less_is_better_the_least_comes_first(tmp_path):
    records = []
    for number, value in enumerate((30.0, 10.0, 20.0)):
        record = make_record(model=f"model-{number}", value=value, protocol={"id": "davis"})
        record["metrics"] = {"J_decay": record["metrics"]["mIoU"]}
        records.append(record)
    rows = rankings(build(tmp_path, records, table=[]))["PASCAL VOC 2012 val", "davis", "J decay"]
    assert [(row["Rank"], row["Model"].split(" ")[0]) for row in rows] == [
        ("1", "model-1"),
        ("2", "model-2"),
        ("3", "model-0"),
    ]


def test_every_point_of_a_chart_leads_to_its_row(site):
    tree = page(site, "benchmarks/pascal-voc--val.html")
    points = tree.all("a", class_="point")
    rows = {row.attributes["id"] for row in tree.all("tr") if "id" in row.attributes}
    dated = [figure for figure in figures() if figure.date and figure.dataset == "pascal-voc"]
    drawn = [figure for figure in dated if (figure.protocol, figure.metric) == ("clustering", "mIoU")]
    assert {point.attributes["href"][1:] for point in points} <= rows
    assert all(point.one("title").text for point in points)
    kinds = [word for point in points for word in point.attributes["class"].split() if word != "point"]
    assert kinds.count("published") == sum(figure.comparable for figure in drawn)
    assert kinds.count("context") == sum(not figure.comparable for figure in drawn)
    assert kinds.count("measured") == 5 and kinds.count("hollow") == 2


def test_the_search_finds_models_papers_and_data_sets(site):
    text = (site / "assets/search.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("window.benchIndex=").rstrip(";\n"))
    assert {kind.split(",")[0] for _, kind, _, _ in index} == {"model", "paper", "data set"}
    assert all((site / url).is_file() for _, _, url, _ in index)
    titles = {title for title, _, _, _ in index}
    assert {"mine", "PASCAL VOC 2012", "Leopart", "Causal Unsupervised Semantic Segmentation"} <= titles


SITE = """
import sys
from pathlib import Path
from bench.records.published import figures
from tests.test_site import build, typical
table = [figure for number, figure in enumerate(figures()) if figure.seed_table or number % 20 == 0]
build(Path(sys.argv[1]), typical()[:: int(sys.argv[2])], table=table)
"""


@pytest.mark.slow
def test_equal_records_give_equal_bytes_whenever_and_wherever_a_site_is_made(tmp_path):
    """In other processes and folders, with other hash seeds, time zones and languages, records in another order."""
    surroundings = [
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "COLUMNS": "40"},
        {"PYTHONHASHSEED": "2", "TZ": "America/Los_Angeles", "LC_ALL": "C.UTF-8", "COLUMNS": "200"},
    ]
    running, sites = [], []
    for order, own in zip(("1", "-1"), surroundings, strict=True):
        folder = tmp_path / f"place {order}" / own["TZ"]
        folder.mkdir(parents=True)
        environment = os.environ | own | {"PYTHONPATH": str(Path(__file__).parents[1])}
        running.append(subprocess.Popen([sys.executable, "-c", SITE, str(folder), order], env=environment, cwd=folder))
        sites.append(folder / "site")
    assert [process.wait() for process in running] == [0, 0]
    mine, others = ({p.relative_to(s): p.read_bytes() for p in s.rglob("*") if p.is_file()} for s in sites)
    assert len(mine) > 60 and mine == others
    assert "2020-01-01" in page(sites[0], "index.html").one("footer").text


def test_without_any_record_every_page_is_there(tmp_path):
    site = build(tmp_path)
    assert "No records yet" in page(site, "index.html").one("footer").text
    assert not page(site, "index.html").all("p", class_="runs")


def without_labels(model, **dataset):
    """A record of a run without labels."""
    protocol = {"id": "clustering-unlabelled"}
    record = make_record(model=model, per_class={}, cluster_to_class=[], protocol=protocol, dataset=dataset)
    record["metrics"] = {"seed_ari": record["metrics"]["mIoU"], "largest_cluster": record["metrics"]["mIoU"]}
    return record


def test_runs_without_labels_are_listed_and_not_ranked(tmp_path):
    plain = {"id": "plain", "split": "all", "title": "Plain pictures", "images": 30}
    site = build(tmp_path, [without_labels("one", **plain), without_labels("other", **plain)], table=[])
    (path,) = (site / "benchmarks").glob("plain*")
    tree = parse(path.read_text(encoding="utf-8"))
    assert not tree.all("table") and not tree.all("figure") and not tree.all("nav", aria_label="Metric")
    items = tree.one("ul", class_="described").all("li")
    assert [item.text.split(",")[0] for item in items] == ["one", "other"]
    assert "30 images" in items[0].text and "Agreement of seeds, ARI 44.20" in items[0].text
    (line,) = [row for row in cells(page(site, "index.html").one("table")) if row[0] == "Plain pictures all"]
    assert line[1:] == ["–", "–", "–", "2 runs without labels, not ranked"]
    figures_of_it = page(site, "models/one.html").one("table", class_="figures")
    assert {link.attributes["href"] for link in figures_of_it.all("a")} >= {f"../benchmarks/{path.name}#without-labels"}


def test_runs_without_labels_stand_below_the_ranking_of_those_with_labels(tmp_path):
    data = {"id": "mine", "split": "val"}
    records = [make_record(model="a", dataset=data), without_labels("b", **data)]
    records[0]["metrics"]["pixel_accuracy"] = records[0]["metrics"]["mIoU"]
    site = build(tmp_path, records, table=[])
    first, second = (
        page(site, "benchmarks/mine--val.html"),
        page(site, "benchmarks/mine--val--clustering--pixel-accuracy.html"),
    )
    assert [row[1] for row in cells(first.one("table"))] == ["a backbone not stated"]
    assert [heading.text for heading in first.all("h2")][-2:] == ["Ranking", "Runs without labels"]
    assert "Runs without labels" not in second.text
    (line,) = [row[-1] for row in cells(page(site, "index.html").one("table")) if "not ranked" in row[-1]]
    assert line.endswith("1 run without labels, not ranked")


@pytest.mark.slow
def test_a_model_of_many_runs_gets_a_page_for_each(tmp_path):
    records = [make_record(model="mine", fingerprint=f"{n:064x}", protocol={"modified": True}) for n in range(50)]
    site = build(tmp_path, records, table=[])
    assert len(list((site / "runs").glob("*.html"))) == 50
    assert len(page(site, "models/mine.html").one("ul", class_="list").all("a")) == 50
    assert max(path.stat().st_size for path in site.rglob("*.html")) < 1_000_000


def test_pages_say_which_images_the_weights_have_seen_and_what_these_have_to_do_with_the_data_set(tmp_path):
    mine = make_record(model="mine", value=30.0)
    mine["model"] |= {"images": "COCO <train2017>", "overlaps": {"pascal-voc": "half of val", "davis": "all of it"}}
    mine["model"]["network"] = {"source": "timm", "name": "vit_small_patch14_reg4_dinov2.lvd142m"}
    site = build(tmp_path, [mine, make_record(model="other", value=20.0)], table=[])
    own = (site / "models" / "mine.html").read_text(encoding="utf-8")
    assert "Images that its weights have seen: COCO &lt;train2017&gt;." in own and "ViT-S/14 with registers" in own
    assert "<strong>Overlap with PASCAL VOC 2012:</strong> half of val." in own and "all of it" in own
    assert "<strong>Training images that overlap:</strong> half of val." in own
    other = (site / "models" / "other.html").read_text(encoding="utf-8")
    assert "Images that its weights have seen: not stated." in other and "verlap" not in other
    rows = [
        path.read_text(encoding="utf-8") for path in site.rglob("*.html") if path.parent.name not in ("models", "runs")
    ]
    assert any('<small class="overlap"><strong>overlap</strong>: half of val</small>' in text for text in rows)
    assert not any("all of it" in text for text in rows)  # of davis, where mine has no row
