"""The web site and what it cannot trust: names, damaged files, pictures of anybody, folders that are not its own."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.base.errors import BadInput, WrongName
from bench.cli import main
from bench.records.published import figures
from bench.records.record import Stored, read_all, write
from bench.report.site import write_site
from bench.report.site.gallery import read_gallery
from bench.report.site.names import arxiv_url, slug, web_url
from tests.markup import parse
from tests.synthetic import keep, make_record, random_rows
from tests.test_site import FEW, build, page

HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "\u202eright to left\u200f עברית",
    "x" * 300,
    "../../../etc/passwd",
    "..\\..\\windows",
    "a/b/c",
    "{{ 7 * 7 }}{% raw %}",
    "\u2028 \ud800 \x00 &amp; ]]> <!--",
    "javascript:alert(1)",
]


def hostile_record(name, number):
    record = make_record(model=f"hostile-{number}")
    record["model"] |= dict.fromkeys(("title", "supervision", "initialisation", "prior", "weights_source"), name)
    record["model"]["paper"] = {"title": name, "arxiv": name, "date": name}
    record["dataset"] |= {"split": name, "title": name}
    record["protocol"] |= {"id": name, "preset": {name: name}, "fingerprint": name}
    record["metrics"] = {name: record["metrics"]["mIoU"]}
    record["per_class"] = {name: 50.0}
    record["confusion"] = {"classes": [name], "mean": [[1.0], [2.0]]}
    return record | {"warnings": [name], "environment": {name: name}, "cost": {name: [name]}, "created": name}


@pytest.mark.slow
def test_hostile_names_harm_neither_page_nor_file_system(tmp_path):
    results, target = tmp_path / "results", tmp_path / "deep" / "site"
    stored = [
        Stored(results / f"m{number}" / f"{number}.json", hostile_record(name, number))
        for number, name in enumerate(HOSTILE)
    ]
    texts = (
        "dataset",
        "split",
        "protocol",
        "metric",
        "model",
        "backbone",
        "init",
        "prior",
        "supervision",
        "paper",
        "arxiv",
    )
    table = [*FEW, *(replace(figures()[14], **dict.fromkeys(texts, name), card=()) for name in HOSTILE)]
    before = {path for path in tmp_path.rglob("*")}
    write_site(target, table, stored, results, [f"{name} is damaged" for name in HOSTILE], print)
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(target.parent)} == before
    for path in target.rglob("*"):
        assert re.fullmatch(r"[a-z0-9._+-]{1,160}", path.name), path
    for path in target.rglob("*.html"):
        tree = parse(path.read_text(encoding="utf-8"))
        assert len(tree.all("script")) == (2 if path.name in ("index.html", "matrix.html") else 1)
        assert all(image.attributes["src"].startswith("assets/example-") for image in tree.all("img"))
        assert not [name for element in tree.walk() for name in element.attributes if name.startswith("on")]
        assert not [a for a in tree.all("a") if a.attributes["href"].startswith(("javascript", "data"))]
        assert "49" not in [part.text for part in tree.all("h1")]
    assert "</script" not in (target / "assets/search.js").read_text(encoding="ascii")


def test_names_of_another_direction_are_kept_apart(tmp_path):
    record = make_record(model="mine")
    record["model"]["title"] = "\u202eשלום\x1b[31m"
    tree = page(build(tmp_path, [record]), "benchmarks/pascal-voc--val.html")
    (cell,) = [cell for cell in tree.all("th", class_="model") if "שלום" in cell.text]
    assert cell.one("bdi").text == r"\u202eשלום\x1b[31m"


def test_no_mark_of_direction_is_in_a_title_an_attribute_or_a_picture_s_text(tmp_path):
    record = make_record(model="mine") | {"examples": {"folder": "clustering.examples"}}
    record["model"]["title"] = "\u202eשלום"
    stored = keep(tmp_path / "results", record)
    pictures(stored.path.parent, images=[IMAGE | {"id": "a\u202eb", "prediction": "0000-prediction.png"}])
    write_site(tmp_path / "site", FEW, [stored], tmp_path / "results", [], print)
    texts = {path: path.read_text() for path in (tmp_path / "site").rglob("*.html")}
    assert not [path for path, text in texts.items() if "\u202e" in text]
    shown = "\n".join(texts.values())
    assert r'alt="a\u202eb' in shown and r"<title>\u202eשלום: 44" in shown and r"<title>\u202eשלום · bench" in shown


def test_names_that_differ_only_in_case_have_pages_of_their_own(tmp_path):
    records = [make_record(model="mine", dataset={"split": split}) for split in ("val", "Val", "VAL")]
    stored = [Stored(tmp_path / "results" / f"{n}" / "a.json", record) for n, record in enumerate(records)]
    site = build(tmp_path, stored=stored)
    names = [path.name.lower() for path in (site / "benchmarks").iterdir() if path.name.startswith("pascal-voc--val")]
    headings = {page(site, f"benchmarks/{name}").one("h1").text for name in names}
    assert {"PASCAL VOC 2012 val", "PASCAL VOC 2012 Val", "PASCAL VOC 2012 VAL"} <= headings


@pytest.mark.slow
@given(st.lists(st.lists(st.text(max_size=90), min_size=1, max_size=3).map(tuple), min_size=2, max_size=2, unique=True))
def test_a_slug_is_safe_and_tells_names_apart(pair):
    first, second = (slug(*parts) for parts in pair)
    assert first != second
    for name in (first, second):
        assert re.fullmatch(r"[a-z0-9_+](?:[a-z0-9._+-]*[a-z0-9_+])?", name) and len(name) <= 100
        assert ".." not in name and unquote(name) == name


@pytest.mark.parametrize("name", ["con", "nul.x", "com1", "aux"])
def test_a_slug_is_no_device_of_windows(name):
    assert not re.match(r"(con|nul|com1|aux)(\.|$)", slug(name))


def test_plain_names_are_kept_as_they_are():
    assert slug("pascal-voc", "val", "linear+crf") == "pascal-voc--val--linear+crf"
    assert slug("2102.06191") == "2102.06191"


def test_only_web_addresses_become_links():
    assert web_url("https://example.org/a") == "https://example.org/a"
    for text in (
        "javascript:alert(1)",
        "data:text/html,x",
        "//example.org",
        "https://",
        "ht tp://x",
        "https://[x",
        None,
        3,
    ):
        assert web_url(text) is None
    assert arxiv_url("2102.06191") == "https://arxiv.org/abs/2102.06191"
    assert arxiv_url("cs/0701001") == "https://arxiv.org/abs/cs/0701001"
    for text in ("", "2102.06191/../x", "javascript:1", '"'):
        assert arxiv_url(text) is None


ODD_PARTS = [
    {"confusion": [1, 2]},
    {"confusion": {"classes": ["a", "b"], "mean": [[1, 2], [3]]}},
    {"confusion": {"classes": ["a"], "mean": [["x"], [None]]}},
    {"confusion": {"classes": [], "mean": []}},
    {"confusion": {"classes": "ab", "mean": [[1, 2], [3, 4]]}},
    {"environment": 3, "cost": [1], "warnings": {"a": 1}, "solver": "x"},
    {"per_class": {"cat": "high", "dog": None, "cow": True}},
    {"per_sequence": {"bear": 3, "camel": [1], "dog": {"J_mean": "x"}}},
    {"seeds": [None, {}, "a", 1.5, []]},
    {"created": 20300101, "examples": 7},
]


def test_a_part_of_an_unexpected_shape_is_left_out(tmp_path):
    records = [make_record(model=f"mine-{n}") | part for n, part in enumerate(ODD_PARTS)]
    # the schema lets few of them through, but the pages rely on no more than it checks today
    site = build(tmp_path, stored=[Stored(write(r, random_rows(0, 3), tmp_path / "results"), r) for r in records])
    for number, part in enumerate(ODD_PARTS):
        tree = page(site, f"models/mine-{number}.html")
        assert "44.20" in tree.one("table", class_="figures").text
        assert not tree.all("details", class_="confusion")
        assert bool(tree.all("table", class_="bars")) == ("per_class" not in part or number == 6)


def test_damaged_records_are_named_and_not_counted(tmp_path, capfd):
    keep(tmp_path / "r", make_record(model="mine"))
    (tmp_path / "r/broken.json").write_text('{"schema": 1, "metrics": ')
    (tmp_path / "r/mine/foreign.json").write_text('{"name": "<b>package</b>"}')
    (tmp_path / "r/nan.json").write_text(json.dumps(make_record() | {"metrics": {"mIoU": {"value": float("nan")}}}))
    with pytest.raises(SystemExit) as left:
        main(["report", "--out", str(tmp_path / "site"), "--results", str(tmp_path / "r")])
    said = capfd.readouterr().err
    assert left.value.code == 0 and said.count("skipped") == 3 and "broken.json" in said
    notice = page(tmp_path / "site", "index.html").one("section", class_="notice")
    assert notice.one("h2").text == "3 files skipped"
    assert [item.text.split(" ")[0] for item in notice.all("li")] == ["broken.json", "mine/foreign.json", "nan.json"]
    assert "1 run of 1 model" in page(tmp_path / "site", "index.html").one("span", class_="runs").text
    assert str(tmp_path) not in (tmp_path / "site/index.html").read_text()


def pictures(folder, stem="clustering", **changes):
    """A record's pictures: two images with labels and predictions, one of them chosen for its cluster only."""
    below = folder / f"{stem}.examples"
    below.mkdir(parents=True)
    for number in range(2):
        for kind, ending in (("image", "jpg"), ("label", "png"), ("prediction", "png")):
            Image.new("RGB", (32, 24), (128, 0, 0)).save(below / f"{number:04d}-{kind}.{ending}")
    image = {"id": "a <b>", "iou": 71.3, "groups": ["best"], "width": 32, "height": 24, "clusters": [3]}
    files = {"image": "0000-image.jpg", "label": "0000-label.png", "prediction": "0000-prediction.png"}
    plain = {
        "id": "c",
        "iou": None,
        "groups": ["cluster"],
        "width": 32,
        "height": 24,
        "image": "0001-image.jpg",
        "label": None,
    }
    plain |= {"prediction": "0001-prediction.png", "clusters": []}
    content = {
        "schema": 1,
        "seed": 1234,
        "legend": [{"id": 0, "name": "background <i>", "colour": "#000000"}],
        "images": [image | files, plain],
        "clusters": [{"cluster": 3, "class": None, "images": 120, "examples": ["a <b>", "unknown"]}],
    }
    (below / "examples.json").write_text(json.dumps(content | changes))
    return below


def with_pictures(tmp_path, **changes):
    record = make_record(model="mine") | {"examples": {"folder": "clustering.examples"}}
    stored = keep(tmp_path / "results", record)
    pictures(stored.path.parent, **changes)
    said = []
    write_site(tmp_path / "site", FEW, [stored], tmp_path / "results", [], said.append)
    return tmp_path / "site", said


def test_pictures_are_copied_and_shown_with_their_legend(tmp_path):
    site, said = with_pictures(tmp_path)
    assert not said
    (link,) = page(site, "models/mine.html").all("a", class_="more")
    address = link.attributes["href"].removeprefix("../")
    tree = page(site, address)
    shown = {image.attributes["alt"]: image.attributes["src"] for image in tree.all("img")}
    assert set(shown) == {
        "a <b>: image",
        "a <b>: image with its classes",
        "",
        "a <b>: ground truth",
        "a <b>: prediction",
        "c: image",
        "c: image with its classes",
        "c: prediction",
        "a <b>",
    }
    assert all((site / "pictures" / source).is_file() for source in shown.values())
    assert [heading.text for heading in tree.all("h2")] == ["Legend", "Best by IoU", "Clusters", "Others"]
    assert "background <i>" in tree.one("ul", class_="legend").text
    assert "claimed by the record" in tree.one("main").text
    assert "IoU 71.3" in tree.one("main").text and "cluster 3" in tree.one("main").text
    (thumbnail,) = tree.one("ul", class_="thumbs").all("a")
    assert tree.one("li", id=thumbnail.attributes["href"][1:])


IMAGE = {"id": "a", "width": 32, "height": 24, "image": "0000-image.jpg"}


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"images": "none"},
        {"images": [IMAGE | {"image": "../../secret.png"}]},
        {"images": [IMAGE | {"image": "/etc/passwd.png"}]},
        {"images": [IMAGE | {"image": "C:\\x.png"}]},
        {"images": [IMAGE | {"image": "examples.json"}]},
        {"images": [IMAGE | {"label": "missing.png"}]},
        {"images": [IMAGE | {"iou": "high"}]},
        {"images": [IMAGE | {"width": 0}]},
        {"legend": [{"id": 0, "name": "x", "colour": "red;}"}]},
        {"clusters": [{"cluster": "x"}]},
    ],
)
def test_damaged_pictures_are_an_error_that_names_the_file(tmp_path, changes):
    folder = pictures(tmp_path, **changes)
    stored = Stored(tmp_path / "clustering.json", make_record() | {"examples": {"folder": folder.name}})
    with pytest.raises(BadInput, match="examples"):
        read_gallery(stored)


@pytest.mark.parametrize("name", ["..", "/etc", "a/b", "a\\b", "", ".", 7, "absent"])
def test_a_folder_of_pictures_lies_beside_its_record(tmp_path, name):
    with pytest.raises(BadInput, match="examples"):
        read_gallery(Stored(tmp_path / "clustering.json", make_record() | {"examples": {"folder": name}}))


def test_damaged_pictures_are_reported_and_skipped(tmp_path):
    site, said = with_pictures(tmp_path, images="none")
    assert len(said) == 1 and "examples.json is damaged: images" in said[0]
    assert not (site / "pictures").exists() and not page(site, "models/mine.html").all("a", class_="more")


def test_a_link_among_the_pictures_is_not_followed(tmp_path):
    (tmp_path / "secret.png").write_text("secret")
    below = pictures(tmp_path)
    (below / "0000-image.jpg").unlink()
    (below / "0000-image.jpg").symlink_to(tmp_path / "secret.png")
    with pytest.raises(BadInput, match="0000-image"):
        read_gallery(Stored(tmp_path / "clustering.json", make_record() | {"examples": {"folder": below.name}}))


def report(capfd, *arguments):
    with pytest.raises(SystemExit) as left:
        main(["report", *map(str, arguments)])
    return left.value.code, capfd.readouterr().err


def test_a_site_is_replaced_and_nothing_else(tmp_path, capfd):
    results, site = tmp_path / "results", tmp_path / "site"
    keep(results, make_record(model="mine"))
    assert report(capfd, "--out", site, "--results", results)[0] == 0
    (site / "CNAME").write_text("bench.example.org")
    (site / ".git").mkdir()
    (site / ".git/HEAD").write_text("ref")
    (site / "models/stale.html").write_text("stale")
    shutil.rmtree(results / "mine")
    assert report(capfd, "--format", "html", "--out", site, "--results", results)[0] == 0
    assert (site / "CNAME").read_text() == "bench.example.org" and (site / ".git/HEAD").read_text() == "ref"
    assert not (site / "models/stale.html").exists() and not (site / "models/mine.html").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("what", ["folder", "file", "results"])
def test_what_is_no_site_is_left_alone(tmp_path, capfd, what):
    target = tmp_path / "mine"
    if what == "file":
        target.write_text("precious")
        out = ("--format", "html", "--out", target)
    else:
        (target / "results").mkdir(parents=True)
        (target / "precious.txt").write_text("precious")
        if what == "results":
            (target / ".bench-site").write_text("")
        out = ("--out", target)
    records = tmp_path / "empty"
    records.mkdir()
    code, said = report(capfd, *out, "--results", target / "results" if what == "results" else records)
    assert code == 2 and str(target.name) in said and len(said.splitlines()) == 2
    assert (target if what == "file" else target / "precious.txt").read_text() == "precious"


def test_a_failure_leaves_the_former_site(tmp_path, monkeypatch):
    site = build(tmp_path, [make_record(model="mine")])
    before = (site / "index.html").read_bytes()
    monkeypatch.setattr("bench.report.site.pages.Pages._papers", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build(tmp_path, [make_record(model="other")])
    assert (site / "index.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "site"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path, capfd):
    (tmp_path / "file").write_text("")
    code, said = report(capfd, "--out", tmp_path / "file/site", "--results", tmp_path / "r")
    assert code == 4 and "cannot write a site" in said


def test_an_ending_says_what_is_wanted(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report(capfd, "--out", "board.json", "--results", "none")[0] == 0
    assert json.loads(Path("board.json").read_text())["published"]
    assert report(capfd, "--format", "html", "--results", "none")[0] == 2
    Path("folder").mkdir()
    assert report(capfd, "--format", "md", "--out", "folder", "--results", "none")[0] == 2


def test_the_results_folder_is_never_replaced(tmp_path):
    stored, _ = read_all(tmp_path)
    (tmp_path / ".bench-site").write_text("")
    with pytest.raises(WrongName, match="holds the records"):
        write_site(tmp_path, figures(), stored, tmp_path, [], print)
