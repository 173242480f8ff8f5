"""The formats of `bench report`: each carries the same figures, and no name breaks out of any."""

import csv
import io
import json
import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.base.errors import WrongName
from bench.base.escaping import HARMLESS, csv_cell, latex_cell, markdown_cell, one_line, printable
from bench.cards.presets import fingerprint
from bench.records.audit import sound
from bench.records.published import figures
from bench.records.record import Stored, dumps
from bench.report.badge import count_badge, figure_badge
from bench.report.formats import FORMATS, as_badge, as_csv, as_json, as_latex, as_markdown
from tests.synthetic import keep, make_record
from tests.terminal import bench
from tests.test_report import boards, tables

SUP = "maskcontrast-sup"


@pytest.fixture
def stored(tmp_path):
    """One figure reproduced, one missed, one run limited, and one record of another metric alone."""
    other = make_record(model="without-labels", dataset={"id": "mine", "split": "all", "images": 7})
    other["metrics"] = {"clusters_used": {"value": 19.0, "std": None, "per_seed": [19.0]}}
    records = [
        make_record(value=44.3),
        make_record(model="maskcontrast-unsup", value=30.123456789),
        make_record(model="limited", dataset={"limited": True, "images": 40}),
        other | {"per_class": {}, "seeds": [1234]},
    ]
    return [keep(tmp_path, record) for record in records]


def split_row(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)&", line.rstrip().removesuffix(r"\\"))]


def latex_tables(text):
    """Every tabular as its rows of cells, header first."""
    bodies = re.findall(
        r"\\begin\{(?:longtable|tabular)\}.*?\n\\toprule\n(.*?)\\bottomrule\n\\end\{(?:longtable|tabular)\}", text, re.S
    )
    rules = (r"\midrule", r"\endhead")
    return [[split_row(line) for line in body.splitlines() if line not in rules] for body in bodies]


def number(cell):
    return None if cell in ("", "–", "--") else float(cell)


def rounded(value):
    return None if value is None else float(f"{value:.2f}")


def figures_of_json(text):
    data = json.loads(text)
    return (
        [
            (one["value"], rounded(one["measured"]), rounded(one["difference"]), one["status"])
            for one in data["published"]
        ],
        [(rounded(one["value"]), rounded(one["low"]), rounded(one["std"]), one["images"]) for one in data["measured"]],
    )


def low_of(cell):
    return number(re.split(" – | to ", cell)[0])


def figures_of_markdown(text):
    published, measured = boards(text)
    return (
        [(float(row[5]), number(row[6]), number(row[7]), row[8]) for row in published[1:]],
        [(number(row[4]), low_of(row[5]), number(row[6]), int(row[7].split()[0])) for row in measured[1:]],
    )


def figures_of_csv(text):
    rows = list(csv.DictReader(io.StringIO(text)))
    published = [row for row in rows if row["kind"] == "published"]
    measured = [row for row in rows if row["kind"] == "measured"]
    points = [[rounded(number(row[key])) for key in ("measured", "difference")] for row in published]
    return (
        [(float(row["value"]), *two, row["status"]) for row, two in zip(published, points, strict=True)],
        [(*(rounded(number(row[key])) for key in ("value", "low", "std")), int(row["images"])) for row in measured],
    )


def figures_of_latex(text):
    published, measured = [], []
    for head, *rows in latex_tables(text):
        if "Published" in head:
            published += [(float(row[5]), number(row[6]), number(row[7]), row[8]) for row in rows]
        else:
            measured += [(number(row[4]), low_of(row[5]), number(row[6]), int(row[7].split()[0])) for row in rows]
    return published, measured


def ordered(found):
    return [sorted(map(repr, part)) for part in found]


def test_every_format_carries_the_same_figures(stored, tmp_path):
    told = figures_of_json(as_json(figures(), stored, tmp_path))
    assert {one[3] for one in told[0]} == {"reproduced", "below", "not run", "not comparable"}
    assert len(told[1]) == 4
    assert ordered(figures_of_markdown(as_markdown(figures(), stored, tmp_path))) == ordered(told)
    assert figures_of_csv(as_csv(figures(), stored, tmp_path)) == told
    assert ordered(figures_of_latex(as_latex(figures(), stored, tmp_path))) == ordered(told)
    badge = json.loads(as_badge(figures(), stored, tmp_path))
    message = f"1 of {len(figures())}, 1 below"
    assert badge == {"schemaVersion": 1, "label": "reproduced figures", "message": message, "color": "red"}


def test_csv_keeps_full_precision_and_every_column(stored, tmp_path):
    rows = list(csv.DictReader(io.StringIO(as_csv(figures(), stored, tmp_path))))
    assert None not in rows[0]
    (mine,) = [row for row in rows if row["measured"] == "30.123456789"]
    assert float(mine["difference"]) == 30.123456789 - 35
    data = json.loads(as_json(figures(), stored, tmp_path))
    for kind in ("published", "measured"):
        assert all(key in rows[0] for key in data[kind][0])


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_the_command_writes_every_format(stored, tmp_path, form):
    done = bench("report", "--format", form, "--results", tmp_path, "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (0, "")
    assert bench("report", "--format", form, "--results", tmp_path).stdout == (tmp_path / "out").read_text(
        encoding="utf-8"
    )


def test_of_images_of_which_some_judge_it_says_how_many(tmp_path):
    whole, some = make_record(), make_record(model="some-labelled", dataset={"images": 20, "judges": 5})
    kept = [keep(tmp_path, record) for record in (whole, some)]
    for cells in (boards(as_markdown((), kept, tmp_path))[1], latex_tables(as_latex((), kept, tmp_path))[0]):
        assert [row[7] for row in cells[1:]] == [str(whole["dataset"]["images"]), "5 of 20"]
    rows = list(csv.DictReader(io.StringIO(as_csv((), kept, tmp_path))))
    assert [row["judges"] for row in rows] == [str(whole["dataset"]["images"]), "5"] and rows[1]["images"] == "20"
    assert [one["judges"] for one in json.loads(as_json((), kept, tmp_path))["measured"]][1] == 5


# --- badges ---


def test_the_count_s_colour_is_that_of_the_worst(tmp_path):
    of = f"of {len(figures())}"
    seen = {}
    for value in (44.2, 30.0, 60.0):
        seen[value] = count_badge(figures(), [keep(tmp_path / str(value), make_record(value=value))])
    assert [(one["message"], one["color"]) for one in seen.values()] == [
        (f"1 {of}", "brightgreen"), (f"0 {of}, 1 below", "red"), (f"0 {of}, 1 above", "orange"),
    ]  # fmt: skip
    assert count_badge(figures(), [])["color"] == "lightgrey"
    assert count_badge([], [])["message"] == "0 of 0"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, message, colour",
    [
        (f"{SUP}/pascal-voc-val/clustering", "44.30 (reproduced)", "brightgreen"),
        (f"{SUP}/pascal-voc-val/clustering/mIoU", "44.30 (reproduced)", "brightgreen"),
        ("maskcontrast-unsup/pascal-voc-val/clustering", "30.12 (below)", "red"),
        ("limited/pascal-voc-val/clustering@cd6c2fc6-limit40", "44.20 (limited)", "blue"),
        ("without-labels/mine-all/clustering", "19.00 (claimed)", "blue"),
    ],
)
def test_a_badge_of_one_figure(stored, tmp_path, name, message, colour):
    badge = figure_badge(figures(), sound(stored)[0], tmp_path, name)
    assert (badge["message"], badge["color"]) == (message, colour)
    assert badge["schemaVersion"] == 1
    assert badge["label"].endswith(("mIoU", "clusters_used"))
    done = bench("report", "--format", "badge", "--figure", name, "--results", tmp_path)
    assert json.loads(done.stdout) == badge


def test_a_badge_is_of_a_record_as_listings_call_it(tmp_path):
    shown = [Stored(tmp_path / place / "run.json", make_record()) for place in ("odd\x1b\n::x", "local/own", "a/mIoU")]
    for name in (
        r"odd\x1b\n::x/run",
        "odd\\x1b\\n::x/run/mIoU",
        "local/own/run",
        "own/run",
        "own/run/mIoU",
        "a/mIoU/run",
    ):
        assert figure_badge(figures(), shown, tmp_path, name)["message"].startswith("44.20"), name


def test_a_badge_of_no_record_is_a_wrong_name(stored, tmp_path):
    with pytest.raises(WrongName, match="unknown record") as caught:
        figure_badge(figures(), stored, tmp_path, "maskcontrast-supp/pascal-voc-val/clustering")
    assert f"{SUP}/pascal-voc-val/clustering" in caught.value.remedy
    with pytest.raises(WrongName, match="has no nmi"):
        figure_badge(figures(), stored, tmp_path, f"{SUP}/pascal-voc-val/clustering/nmi")


def test_figure_goes_with_a_badge_alone(tmp_path):
    done = bench("report", "--figure", "x", "--results", tmp_path)
    assert (done.returncode, "--figure is only for --format badge" in done.stderr) == (2, True)


# --- names that try to break out ---

HOSTILE = [
    "<script>alert(1)</script>",
    "\"double\" 'single' `back`",
    "\u202eright to left\u202c שלום",
    "x" * 300,
    "../../etc/passwd \\ C:\\",
    r"_ % & # $ ~ ^ \ { } [ ] * \input{x} \\[9pt] ^^41",
    "=cmd()|' /C calc'!A0",
    "+1", "-1", "@SUM(1)", "\t=1", "\n=1", " =1",
    "two\nlines\r\nand | a # head",
    "\x1b[31mred\x00\x85",
    "a,b;c\"\"d",
]  # fmt: skip


def hostile(name, results):
    record = make_record(value=44.3)
    record["model"] |= {"id": "mine", "title": name, "supervision": name, "images": name}
    record["model"]["overlaps"] = {record["dataset"]["id"]: name}
    record["dataset"] |= {"split": name}
    record["protocol"] |= {"id": name, "fingerprint": name}
    record["metrics"] = {name: record["metrics"]["mIoU"]}
    texts = dict.fromkeys(("model", "supervision", "note", "dataset", "split", "protocol", "metric", "backbone"), name)
    extra = replace(figures()[4], seed_table=False, **texts)
    return [*figures(), extra], [Stored(results / "a" / "x.json", record)]


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_changes_no_figure_and_adds_no_cell(tmp_path, name):
    table, stored = hostile(name, tmp_path)
    told = figures_of_json(as_json(table, stored, tmp_path))
    text = {form: FORMATS[form](table, stored, tmp_path) for form in ("md", "csv", "latex", "badge")}
    assert ordered(figures_of_markdown(text["md"])) == ordered(told)
    assert figures_of_csv(text["csv"]) == told
    assert ordered(figures_of_latex(text["latex"])) == ordered(told)
    assert {len(row) for one in tables(text["md"]) for row in one} == {11, 12}
    assert {len(row) for one in latex_tables(text["latex"]) for row in one} == {8, 9}
    for form in ("md", "csv", "latex"):
        assert not {"\x1b", "\x00", "\u202e", "\r", "\x85"} & set(text[form])
    assert "<script>" not in text["md"]
    for row in csv.reader(io.StringIO(text["csv"])):
        assert not any(cell.startswith(tuple("=+@\t\r")) or re.match(r"-(?![\d.]+$)", cell) for cell in row)
    assert not re.search(r"(?m)^\s*[\[*]", text["latex"])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_on_its_line_of_a_listing(tmp_path, name):
    record = hostile(name, tmp_path)[1][0].record
    # ids cannot be hostile: such a record is skipped
    record["dataset"]["split"], record["protocol"]["id"] = "val", "clustering"
    record["protocol"]["fingerprint"] = fingerprint("clustering", record["protocol"]["preset"])
    (tmp_path / "x.json").write_text(json.dumps(record), encoding="utf-8")
    done = bench("list", "results", "--results", tmp_path)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
    assert not {"\x1b", "\x00", "\u202e", "\x85"} & set(done.stdout)


@given(st.text())
def test_any_text_is_one_safe_cell(text):
    for cell in (one_line(text), markdown_cell(text), latex_cell(text), str(csv_cell(text))):
        assert len(cell.splitlines()) <= 1
        assert cell == cell.strip()
    assert not re.search(r"(?<!\\)[|<>`*_\[\]]", markdown_cell(text).replace("\\\\", ""))
    assert not re.search(r"(?<!\\)[%&#$_]", latex_cell(text))
    assert not str(csv_cell(text)).startswith(("=", "+", "-", "@"))


def test_numbers_are_no_formulas():
    assert csv_cell(-1.5) == -1.5
    assert csv_cell("-1.5") == "'-1.5"


def test_escaped_text_reads_as_it_was():
    assert latex_cell("a_b 5% & #1 $2 {x}") == r"a\_b 5\% \& \#1 \$2 \{x\}"
    assert latex_cell("\\ ~ ^ [*]") == r"\textbackslash{} \textasciitilde{} \textasciicircum{} {[}{*}{]}"
    assert one_line("שלום – 牛") == "שלום – 牛"


def test_a_file_whose_ending_tells_no_format_is_not_written_over(tmp_path):
    card = tmp_path / "my-data.toml"
    card.write_text("precious")
    done = bench("report", "--out", card, "--results", tmp_path)
    assert done.returncode == 2 and "name the format with --format" in done.stderr and card.read_text() == "precious"
    assert bench("report", "--format", "md", "--out", tmp_path / "board.txt", "--results", tmp_path).returncode == 0
    assert bench("report", "--out", tmp_path / "board.tex", "--results", tmp_path).returncode == 0
    assert "toprule" in (tmp_path / "board.tex").read_text()


def test_what_acts_on_a_terminal_is_shown_instead():
    assert printable("a\x1b[2Jb\u202ec\x9b\x00\udc80\u200f") == r"a\x1b[2Jb\u202ec\x9b\x00\udc80\u200f"
    assert printable("a\tb\nc\u2028d") == r"a\tb\nc\u2028d" and printable("a\tb\nc", keep="\n") == "a\\tb\nc"
    assert one_line("a\tb\nc\u2028d") == "a b c d"
    assert printable("می\u200cخواهم – 牛 👩\u200d🚀", HARMLESS) == "می\u200cخواهم – 牛 👩\u200d🚀"
    assert printable("\U000e0041") == r"\U000e0041"


@given(st.text() | st.text(st.characters(categories=("Cc", "Cf", "Cs"))))
def test_json_keeps_its_values_and_nothing_in_it_acts(text):
    written = dumps({"x": text})
    assert not [sign for sign in written if unicodedata.category(sign) in ("Cc", "Cs") and sign != "\n"]
    assert not {"\u202e", "\u2066", "\u200f", "\x9b"} & set(written)
    if not any("\ud800" <= sign <= "\udfff" for sign in text):
        assert json.loads(written) == {"x": text}


def test_half_a_surrogate_pair_is_written_as_it_is_shown():
    assert json.loads(dumps(["a\udc80"])) == [r"a\udc80"]
