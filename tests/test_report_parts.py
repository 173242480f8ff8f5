"""Parts of the leaderboard: filters, several results folders, and tables for a paper."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from bench.base.errors import WrongName
from bench.records.audit import sound
from bench.records.folders import Folders, read_folders
from bench.records.published import figures
from bench.report.formats import FORMATS, as_rows
from bench.report.selection import Selection
from bench.report.site.write import MARKER
from tests.conftest import ROOT
from tests.synthetic import keep, make_record
from tests.terminal import bench, said
from tests.test_formats import latex_tables
from tests.test_report import tables

SUP, UNSUP = "maskcontrast-sup", "maskcontrast-unsup"


@pytest.fixture
def stored(tmp_path):
    """Two models that have cards and published figures, one of two metrics, and one that only records know."""
    both = make_record(value=44.3)
    both["metrics"]["pixel_accuracy"] = both["metrics"]["mIoU"]
    mine = make_record(model="mine", dataset={"id": "my-data", "split": "all"})
    return [keep(tmp_path, record) for record in (both, make_record(model=UNSUP, value=35.1), mine)]


def chosen(stored, own=False, **names):
    kept, records = Selection({kind: tuple(one) for kind, one in names.items()}, own).of(figures(), stored)
    return kept, [one.record["model"]["id"] for one in records]


# --- filters ---


@pytest.mark.parametrize("name", [SUP, SUP.upper(), f" {SUP} ", f"{SUP[:-1]}?"])
def test_a_model_is_meant_by_its_id_or_a_pattern_in_capitals_or_not(stored, name):
    kept, records = chosen(stored, model=[name])
    assert kept and all(SUP in figure.card for figure in kept) and records == [SUP]


def test_a_model_is_meant_by_what_a_paper_calls_it(stored):
    name = next(figure.model for figure in figures() if figure.card[:1] == (SUP,))
    kept, records = chosen(stored, model=[name.lower()])
    assert {figure.model for figure in kept} >= {name} and records == [SUP]


def test_an_id_goes_before_a_name_and_takes_no_other(stored):
    kept, _ = chosen(stored, protocol=["clustering"])
    assert {figure.protocol for figure in kept} == {"clustering"}
    kept, _ = chosen(stored, protocol=["linear*"])
    assert {figure.protocol for figure in kept} > {"linear", "linear+crf"}


def test_a_split_is_meant_as_listings_name_it(stored):
    assert {(one.dataset, one.split) for one in chosen(stored, dataset=["imagenet-s-50-test"])[0]} == {
        ("imagenet-s-50", "test")
    }
    assert chosen(stored, dataset=["my-data"]) == ((), ["mine"])


def test_names_of_a_kind_widen_and_kinds_narrow(stored):
    kept, records = chosen(
        stored, dataset=["pascal-voc", "my-data"], metric=["Pixel accuracy"], protocol=["clustering"]
    )
    assert records == [SUP] and all(one.metric == "pixel_accuracy" for one in kept)
    _, taken = Selection({"metric": ("PIXEL_ACCURACY",)}).of(figures(), stored)
    assert [list(one.record["metrics"]) for one in taken] == [["pixel_accuracy"]]
    assert list(stored[0].record["metrics"]) == ["mIoU", "pixel_accuracy"]


def test_own_leaves_published_figures_out(stored):
    assert chosen(stored, own=True) == ((), [SUP, UNSUP, "mine"])
    assert chosen(stored, own=True, model=[UNSUP]) == ((), [UNSUP])


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [("model", "maskcontrast-supp", SUP), ("dataset", "pascal_voc", "pascal-voc"), ("metric", "mIuO", "miou"),
     ("protocol", "clusterng", "clustering"), ("model", "no*such*thing", "bench list"), ("model", "", "bench list")],
)  # fmt: skip
def test_an_unknown_name_is_one_line_with_the_nearest(stored, kind, name, near):
    with pytest.raises(WrongName, match=f"the {'data set' if kind == 'dataset' else kind} '") as caught:
        chosen(stored, **{kind: [name]})
    assert near in caught.value.remedy and "\n" not in str(caught.value.problem)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_format_is_of_the_part_alone(stored, tmp_path, form):
    only = Selection({"model": (SUP,), "metric": ("mIoU",)})
    kept, records = only.of(figures(), stored)
    text = FORMATS[form](kept, records, tmp_path, only)
    assert SUP in text or form in ("pwc", "badge")
    assert UNSUP not in text and "my-data" not in text and "pixel_accuracy" not in text.split("Notes")[0]
    assert FORMATS[form]((), (), tmp_path, only)


def test_the_command_takes_parts(stored, tmp_path):
    words = ("--results", tmp_path, "--model", SUP, "--metric", "miou")
    rows = list(csv.DictReader(io.StringIO(bench("report", "--format", "csv", *words).stdout)))
    assert {row["kind"] for row in rows} == {"published", "measured"}
    assert {row["metric"] for row in rows} == {"mIoU"} and {row["model"] for row in rows if row["path"]} == {SUP}
    own = json.loads(bench("report", "--format", "json", "--own", *words).stdout)
    assert own["published"] == [] and [one["model"] for one in own["measured"]] == [SUP]
    said(
        bench("report", "--results", tmp_path, "--model", "maskcontrastsup"), 2, "has the model", f"Did you mean {SUP}"
    )
    said(bench("report", "--results", tmp_path, "--own", "--format", "pwc"), 2, "--own leaves nothing of --format pwc")
    none = ("report", "--results", tmp_path, "--protocol", "davis", "--metric", "mIoU", "--format")
    for form in ("csv", "pwc"):
        said(bench(*none, form), 0, "nothing is left: ")
    said(bench("report", "--results", tmp_path, "--model", "DINO", "--format", "pwc"), 0, "nothing is left: ")
    for more in ((), ("--rows", "metrics")):
        empty = bench(*none, "latex", *more).stdout.splitlines()
        assert all(line.startswith("%") for line in empty) and "nothing to show" in empty[-1]
    badge = json.loads(bench("report", "--results", tmp_path, "--dataset", "pascal-voc", "--format", "badge").stdout)
    assert badge["label"] == "reproduced figures, data set pascal-voc"


def test_at_a_terminal_it_is_a_table_that_fits(stored, tmp_path, monkeypatch):
    terminal = type("Terminal", (io.StringIO,), {"isatty": lambda self: True})
    monkeypatch.setattr("tests.terminal.io.StringIO", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    lines = bench("report", "--results", tmp_path, "--dataset", "pascal-voc", "--model", SUP).stdout.splitlines()
    assert lines[0] == "pascal-voc val" and lines[1].split()[:4] == ["PROTOCOL", "METRIC", "PUBLISHED", "MEASURED"]
    assert any(line.split()[:4] == ["clustering", "mIoU", "44.2", "44.30"] for line in lines)
    assert max(map(len, lines)) <= 80 and not any(line.startswith("|") for line in lines)
    words = ("--results", tmp_path, "--dataset", "pascal-voc", "--model", "CAUSE-TR", "--protocol", "clustering")
    monkeypatch.setenv("COLUMNS", "200")
    head, *rows = bench("report", *words).stdout.split("\n\n")[0].splitlines()[1:]
    assert {"BACKBONE", "COUNTED"} <= set(head.split()) and any("ViT-B/16, iBOT" in row for row in rows)
    places = slice(head.index("METRIC"), head.index("PUBLISHED")), slice(head.index("MODEL"), None)
    assert len({tuple(row[place] for place in places) for row in rows}) == len(rows) > 4


def test_a_site_of_a_part_says_so_and_has_no_other_rows(stored, tmp_path):
    done = bench("report", "--results", tmp_path, "--out", tmp_path / "site", "--own", "--model", SUP)
    said(done, 0)
    pages = {path.relative_to(tmp_path / "site").as_posix(): path.read_text("utf-8") for path in
             (tmp_path / "site").rglob("*.html")}  # fmt: skip
    assert f"Only model {SUP}, without published figures." in pages["index.html"]
    assert f"models/{SUP}.html" in pages and f"models/{UNSUP}.html" not in pages
    assert not any("DeepUSPS" in text for text in pages.values())


# --- several folders ---


@pytest.fixture
def labs(tmp_path):
    """Two labs' folders of one name, and one of another: a file of the same name in each; one record is in two."""
    places = [tmp_path / "a" / "runs", tmp_path / "b" / "runs", tmp_path / "more"]
    for place, value in zip(places, (44.0, 44.4, 44.4), strict=True):
        keep(place, make_record(value=value))
    keep(places[2], make_record(model=UNSUP, value=35.2))
    (places[0] / "broken.json").write_text("{")
    return places


def test_files_of_one_name_in_two_folders_are_two_records_and_one_record_in_two_counts_once(labs):
    folders = Folders.of(labs)
    assert sorted(folders.names.values()) == ["more", "runs-1", "runs-2"]
    found = read_folders(folders)
    assert sorted(one.record["metrics"]["mIoU"]["value"] for one in found.stored) == pytest.approx([35.2, 44.0, 44.4])
    assert len(found.twice) == 1 and "is the same record as" in found.twice[0] and len(found.problems) == 1
    assert folders.without_folders(found.problems[0]).startswith(("runs-1/broken.json", "runs-2/broken.json"))


def test_of_the_same_record_the_one_with_sound_rows_counts(labs):
    folders = Folders.of(labs)
    next(labs[2].glob(f"{SUP}/*/*.npz")).unlink()
    kept = [one.path for one in read_folders(folders).stored if one.record["metrics"]["mIoU"]["value"] > 44.3]
    assert [path.is_relative_to(labs[1]) for path in kept] == [True]


def test_a_folder_given_twice_or_inside_another_is_read_once(labs, tmp_path):
    assert read_folders(Folders.of([labs[2], labs[2] / ".." / "more"])).twice == []
    assert len(read_folders(Folders.of([labs[2], labs[2] / SUP])).stored) == 2
    assert Folders.of([labs[2]]).place(labs[2] / "x.json") == "x.json"


def test_the_order_of_folders_changes_no_byte(labs, tmp_path):
    texts = []
    part = [figure for figure in figures() if figure.seed_table or figure.card]
    for given in (labs, labs[::-1]):
        folders = Folders.of(given)
        stored, _ = sound(read_folders(folders).stored)
        texts.append({form: write(part, stored, folders) for form, write in FORMATS.items()})
        texts[-1]["rows"] = as_rows("latex", part, stored, folders)
    assert texts[0] == texts[1]
    assert str(tmp_path) not in "".join(texts[0].values())


@pytest.mark.slow
def test_neither_hash_seed_nor_time_zone_nor_locale_changes_a_byte(labs):
    words = ["report", "--rows", "metrics", "--format", "latex"]
    words += [word for one in labs for word in ("--results", str(one))]
    there = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "bench", *words]
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=os.environ | there)
    assert done.stdout.decode() == bench(*words).stdout


def test_a_site_of_several_folders_keeps_their_runs_apart_and_tells_no_path(labs, tmp_path):
    words = [word for one in labs for word in ("--results", one)]
    said(bench("report", *words, "--out", tmp_path / "site", "--own"), 0)
    text = (tmp_path / "site" / "models" / f"{SUP}.html").read_text("utf-8")
    assert len(set(re.findall(r'id="(runs-[12]--[^"]+|more--[^"]+)"', text))) == 2
    assert not [p for p in (tmp_path / "site").rglob("*.html") if str(tmp_path) in p.read_text("utf-8")]
    (labs[0].parent / MARKER).touch()
    said(bench("report", *words, "--out", labs[0].parent), 2, "holds the records")


def test_check_reads_several_folders(labs):
    done = bench("check", "--json", *(word for one in labs for word in ("--results", one)))
    told = json.loads(done.stdout)
    assert sum(one["status"] in ("reproduced", "below", "above") for one in told["outcomes"]) == 2
    assert any("it counts once" in line for line in told["remarks"])
    said(bench("check", "--results", labs[0], "--results", labs[1], "--against", labs[1]), 2, "is the folder to check")


def test_the_variable_names_one_folder_whatever_signs_are_in_it(tmp_path, monkeypatch):
    keep(tmp_path / "a:b c", make_record())
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "a:b c"))
    assert len(json.loads(bench("report", "--format", "json", "--own").stdout)["measured"]) == 1


# --- tables for a paper ---


def rows(form, *words, results):
    return bench("report", "--results", results, "--format", form, "--rows", *words).stdout


@pytest.mark.parametrize("columns", ["metrics", "datasets"])
def test_a_row_per_model_with_deviation_and_the_published_figure_below(stored, tmp_path, columns):
    kept, records = Selection({"dataset": ("pascal-voc",), "protocol": ("clustering",)}).of(figures(), stored)
    table = tables(as_rows("md", kept, records, tmp_path, columns=columns))[0]
    place = table[0].index("mIoU" if columns == "metrics" else "pascal-voc val")
    mine = next(number for number, row in enumerate(table) if row[0] == SUP)
    assert table[mine][place].startswith("44.3 ± 0.3")
    below, figure = table[mine + 1][0], table[mine + 1][place]
    if columns == "metrics":
        assert re.fullmatch(r"MaskContrast \(Saliency\) †\d+", below) and figure == "44.2"
    else:
        assert below == "MaskContrast (Saliency)" and re.fullmatch(r"44.2 †\d+", figure)
    assert {len(row) for row in table} == {len(table[0])}


def test_latex_rows_have_a_cell_for_each_column_and_say_what_the_signs_are(stored, tmp_path):
    text = rows("latex", "metrics", "--dataset", "pascal-voc", results=tmp_path)
    for spec, body in re.findall(r"\\begin\{tabular\}\{(\S+)\}\n\\toprule\n(.*?)\\bottomrule", text, re.S):
        lines = [line for line in body.splitlines() if line != r"\midrule"]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(re.sub("{.*?}", "", spec))}
        assert all(line.endswith(r" \\") and line.count("{") == line.count("}") for line in lines)
        assert all(len(re.findall(r"(?<!\\)\$", line)) % 2 == 0 for line in lines)
    assert len(latex_tables(text)) > 1
    assert r"$44.3 \pm 0.3$" in text and re.search(r"MaskContrast \(Saliency\)\\textsuperscript\{\\dag\d+\}", text)
    assert "% ± is the standard deviation over 5 seeds." in text
    assert all(line.startswith(("%", "\\", "$")) or line.endswith("\\\\") for line in text.splitlines() if line)


@pytest.fixture
def counted():
    """Figures of one model in one paper that differ in how they were counted, on two data sets."""
    one = next(figure for figure in figures() if figure.dataset == "pascal-voc" and figure.protocol == "in-context")
    one = replace(one, card=(), comparable=False, note="drawn otherwise", entries={}, detail=("512 px",))
    large, small = (
        replace(one, value=value, entries={"memory": m}) for value, m in ((55.7, 10240000), (50.8, 1024000))
    )
    return [large, small, replace(one, value=44.9), replace(small, value=9.5, dataset="ade20k", note="another split")]


def test_rows_that_would_be_equal_tell_how_they_were_counted_by_size(counted, tmp_path):
    text = as_rows("md", counted[:3], [], tmp_path)
    head, *rows = tables(text)[0]
    assert head == ["model", "backbone", "counted", "mIoU"]
    assert [row[2:] for row in rows] == [
        ["512 px", "44.9"], ["memory=1024000; 512 px", "50.8"], ["memory=10240000; 512 px", "55.7"],
    ]  # fmt: skip
    assert {row[0] for row in rows} == {f"{counted[0].model} ‡1"} and text.count("drawn otherwise") == 1
    (head, _) = tables(as_rows("md", counted[:1], [], tmp_path))[0]
    assert "counted" not in head
    latex = as_rows("latex", counted[:3], [], tmp_path)
    assert latex.count(r"\textsuperscript{\ddag1}") == 4 and latex.count("drawn otherwise") == 1


def test_records_of_one_model_are_told_apart_by_their_names(labs, tmp_path):
    folders = Folders.of(labs)
    rows = tables(as_rows("md", (), read_folders(folders).stored, folders))[0][1:]
    told = [row[2] for row in rows if row[0] == SUP]
    assert len(set(told)) == 2 and all(re.match(r"record (runs-[12]|more)/", one) for one in told)


def test_a_row_has_its_figures_of_all_data_sets_whatever_their_notes(counted, tmp_path):
    text = as_rows("md", counted, [], tmp_path, columns="datasets")
    rows = {row[2]: row[3:] for row in tables(text)[0][1:]}
    assert len(rows) == 3 and rows["memory=1024000; 512 px"] == ["9.5 ‡2", "50.8 ‡1"]
    assert re.search("(?m)^- ‡1: .*drawn otherwise$", text) and re.search("(?m)^- ‡2: .*another split$", text)


def test_the_interval_stands_in_the_cell_and_the_note_says_what_it_covers(tmp_path):
    shutil.copytree(ROOT / "results" / "maskcontrast-shapes", tmp_path / "maskcontrast-shapes")
    words = ("--own", "--metric", "mIoU", "--digits", "2")
    (table,) = tables(text := rows("md", "metrics", *words, results=tmp_path))
    assert re.fullmatch(r"\d+\.\d\d ± \d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]", table[1][2])
    assert "is the 95 % interval of the mean for new samples of as many images" in text


def test_a_spread_is_never_rounded_away(tmp_path):
    record = make_record(value=44.3)
    record["metrics"]["mIoU"]["per_seed"] = [44.3 + 0.01 * (i - 2) for i in range(5)]
    record["metrics"]["mIoU"]["std"] = 0.0158
    stored = [keep(tmp_path, record)]
    table = tables(as_rows("md", (), stored, tmp_path))[0]
    assert table[1][2] == "44.3 ± 0.02"
    assert tables(as_rows("md", (), stored, tmp_path, digits=0))[0][1][2] == "44 ± 0"


def test_rows_are_for_two_formats(tmp_path):
    said(
        bench("report", "--rows", "metrics", "--format", "csv", "--results", tmp_path),
        2,
        "only for --format latex and md",
    )
    words = ("report", "--results", tmp_path, "--out", tmp_path / "r.html")
    said(bench(*words, "--rows", "metrics"), 2, "--rows and --format html exclude each other")
    for more in ((), ("--format", "html")):
        said(bench(*words, *more), 2, "a site is a folder; name one without .html")
    assert not (tmp_path / "r.html").exists()
    said(bench("report", "--digits", "2", "--results", tmp_path), 2, "--digits is only for --rows")
