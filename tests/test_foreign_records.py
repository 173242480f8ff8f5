"""Whatever a file in results/ holds, no command fails for it: it is a record, or it is said and skipped."""

import copy
import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.base.errors import BenchError
from bench.base.files import load_npz, sha256_file
from bench.records.audit import sound
from bench.records.find import find
from bench.records.published import figures
from bench.records.record import dumps, read_all
from bench.report.check import against_published, against_records, verdict
from bench.report.compare import compare
from bench.report.formats import FORMATS
from bench.report.github import annotations_of, summary
from tests.conftest import ROOT
from tests.terminal import bench

RECORD = ROOT / "tests" / "records" / "random-resnet18" / "shapes-val" / "clustering.json"
ENTRY = json.loads(RECORD.read_text(encoding="utf-8"))
FIGURES = tuple(figure for figure in figures() if figure.seed_table)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "1e999", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value, path=()):
    """The path to every entry, all but the insides of long lists."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value[:2]):
            yield from places(inner, (*path, i))


def with_value(value, path, new):
    if not path:
        return new
    changed = copy.deepcopy(value)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if new is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return changed


def run_everything(results):
    """All that reads records, on one folder."""
    stored, problems = read_all(results)
    assert len(stored) + len(problems) == 1
    for render in FORMATS.values():
        assert render(FIGURES, stored, results).encode()
    for outcomes in (against_published(FIGURES, stored, ()), against_records(stored, stored, ())):
        passed, line = verdict(outcomes)
        assert summary(outcomes, problems, passed, line).encode()
        assert all(text.encode() for text in annotations_of(outcomes, problems, passed, line))
    for one in stored:
        try:
            dumps(compare(one, find(str(one.path), results), resamples=100).as_json())
        except BenchError as error:
            assert error.problem


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(("rows", "file"), "x" * 5000)
@example(("rows", "file"), "\0")
@example(("metrics", "mIoU", "value"), 10**400)
@given(st.sampled_from(list(places(ENTRY))), st.just(...) | VALUES)
def test_any_entry_may_hold_anything(path, new):
    if new is ... and not path:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(RECORD.with_name("clustering.rows.npz"), folder)
        text = json.dumps(with_value(ENTRY, path, new))
        (folder / "clustering.json").write_text(text, encoding="utf-8")
        run_everything(folder)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_may_lie_there(content):
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "x.json").write_bytes(content)
        stored, problems = read_all(Path(name))
        assert (stored, len(problems)) == ([], 1)


@pytest.mark.parametrize("arguments", [("report",), ("check",), ("list", "results")])
def test_one_line_tells_of_each_file_that_is_skipped(tmp_path, arguments):
    shutil.copytree(RECORD.parent, tmp_path / "good")
    for name in ("<b>\n::error::x", "\x1b[2J", "שלום"):
        (tmp_path / f"{name.replace('/', '_')}.json").write_text("{", encoding="utf-8")
    done = bench(*arguments, "--results", tmp_path)
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 3
    assert all(line.startswith("warning: skipped: ") for line in lines)
    assert "\x1b" not in done.stderr


def test_a_number_of_too_many_digits_is_said_in_plain_words(tmp_path):
    (tmp_path / "x.json").write_text('{"schema": 1, "solver_gap": ' + "9" * 5_000 + "}", encoding="utf-8")
    assert read_all(tmp_path)[1] == [f"{tmp_path / 'x.json'} is damaged: a number in it has too many digits"]


@pytest.mark.parametrize("arguments", [("report",), ("check",), ("list", "results")])
def test_a_record_whose_ids_lead_elsewhere_is_said_and_skipped(tmp_path, arguments):
    shutil.copytree(RECORD.parent, tmp_path / "good")
    for number, (part, key, value) in enumerate((("dataset", "split", "../../x"), ("protocol", "id", "a/../../b"))):
        text = json.dumps(with_value(ENTRY, (part, key), value))
        (tmp_path / f"{number}.json").write_text(text, encoding="utf-8")
    done = bench(*arguments, "--results", tmp_path)
    lines = done.stderr.splitlines()
    assert [line.startswith("warning: skipped: ") for line in lines] == [True, True]
    assert "'dataset.split'" in lines[0] and "'protocol.id'" in lines[1]
    assert "../" not in done.stdout


# --- a folder from a stranger: each line of these is a thing in the place of a record, or of its rows ---

IN_PLACE = {
    "a pipe": getattr(os, "mkfifo", None),
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a folder": lambda path: path.mkdir(),
    "an enormous file": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
}


def skipped_lines(arguments, results):
    """What the command says of files that it skips; nothing of a stranger's ends it or goes to the terminal."""
    done = bench(*arguments, "--results", results)
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("warning: skipped: ")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
@pytest.mark.parametrize("name", ["clustering.json", "clustering.rows.npz"])
@pytest.mark.parametrize("what", IN_PLACE)
def test_what_is_no_ordinary_file_costs_its_record_and_no_other(tmp_path, what, name):
    for folder in ("good", "bad"):
        shutil.copytree(RECORD.parent, tmp_path / folder)
    place = tmp_path / "bad" / name
    place.unlink()
    IN_PLACE[what](place)
    stored, problems = read_all(tmp_path)
    found, unsound = sound(stored)
    assert [entry.path.parent.name for entry in found] == ["good"]
    (line,) = problems + unsound
    assert "bad" in line and name in line


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
def test_the_commands_go_on_after_what_is_no_ordinary_file(tmp_path):
    shutil.copytree(RECORD.parent, tmp_path / "good")
    (tmp_path / "bad").mkdir()
    os.mkfifo(tmp_path / "bad" / "clustering.json")
    for arguments in (("report",), ("check",), ("list", "results"), ("report", "--out", tmp_path / "site")):
        (line,) = skipped_lines(arguments, tmp_path)
        assert "bad/clustering.json" in line and "not an ordinary file" in line
    assert "random-resnet18" in (tmp_path / "site" / "models.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
def test_pictures_that_are_a_pipe_are_left_out(tmp_path):
    record = ENTRY | {"examples": {"folder": "clustering.examples"}}
    shutil.copytree(RECORD.parent, tmp_path / "r")
    (tmp_path / "r" / "clustering.json").write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "r" / "clustering.examples").mkdir()
    os.mkfifo(tmp_path / "r" / "clustering.examples" / "examples.json")
    done = bench("report", "--out", tmp_path / "site", "--results", tmp_path)
    assert done.returncode == 0 and "pictures skipped" in done.stderr and "not an ordinary file" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
def test_a_name_that_is_no_text_is_shown_and_breaks_nothing(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    shutil.copytree(RECORD.parent, folder / "m")
    (folder / "bad.json").write_text("{")
    stored, _ = sound(read_all(tmp_path)[0])
    for form, render in FORMATS.items():
        assert render(FIGURES, stored, tmp_path).encode(), form
    assert r"caf\udce9/m/clustering.json" in FORMATS["csv"](FIGURES, stored, tmp_path)
    for arguments in (("report", "--format", "json"), ("report", "--out", tmp_path / "site")):
        (line,) = skipped_lines(arguments, tmp_path)
        assert r"caf\udce9" in line


@pytest.mark.parametrize("depth", [65, 500, 5000, 200_000])
def test_values_nested_too_deep_are_damage(tmp_path, depth):
    text = json.dumps(ENTRY | {"x": "HERE"}).replace('"HERE"', "[" * depth + "]" * depth)
    (tmp_path / "deep.json").write_text(text, encoding="utf-8")
    assert read_all(tmp_path)[1] == [f"{tmp_path / 'deep.json'} is damaged: its values are nested more than 64 deep"]


@pytest.mark.parametrize(
    "path, value, says",
    [
        (("metrics",), {f"m{i}": {"value": 1.0, "per_seed": [1.0]} for i in range(101)}, "'metrics'"),
        (("metrics", "mIoU", "per_seed"), [1.0] * 1001, "'metrics.mIoU.per_seed'"),
        (("seeds",), list(range(1001)), "'seeds'"),
        (("model", "title"), "x" * 1001, "'model.title'"),
        (("solver_gap",), -1.0, "'solver_gap'"),
        (("dataset", "labelled"), "no", "'dataset.labelled'"),
    ],
)
def test_what_would_fill_pages_is_refused(tmp_path, path, value, says):
    (tmp_path / "x.json").write_text(json.dumps(with_value(ENTRY, path, value)), encoding="utf-8")
    stored, (line,) = read_all(tmp_path)
    assert stored == [] and says in line


def test_a_folder_nested_deeper_than_a_path_may_be_is_passed_over(tmp_path):
    shutil.copytree(RECORD.parent, tmp_path / "good")
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        there = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
    assert len(read_all(tmp_path)[0]) == 1


# --- rows that fit their hash, and not themselves ---

ROWS = dict(np.load(RECORD.with_name("clustering.rows.npz")))
CLUSTERS = {
    "ids": ROWS["ids"],
    "clusters": np.array(2),
    "totals": np.ones(400, np.int64),
    "lengths": np.array([400]),
    "image": np.arange(400),
    "cluster": np.zeros(400, np.int64),
    "pixels": np.ones(400, np.int64),
}
FRAMES = {
    "ids": np.array(["a/0", "a/1"]),
    "frame": np.arange(2),
    "object": np.ones(2, int),
    "J": np.ones(2),
    "F": np.ones(2),
}
ODD_ROWS = {
    "a million classes": ROWS | {"num_classes": np.array(10**6)},
    "no class": ROWS | {"num_classes": np.array(0)},
    "infinite classes": ROWS | {"num_classes": np.array(np.inf)},
    "two numbers of classes": ROWS | {"num_classes": np.array([21, 21])},
    "negative lengths": ROWS | {"lengths": -ROWS["lengths"]},
    "other lengths": ROWS | {"lengths": ROWS["lengths"][:2]},
    "no seeds": ROWS | {"lengths": ROWS["lengths"][:0]},
    "a short column": ROWS | {"true": ROWS["true"][:-5]},
    "counts that are not": ROWS | {"count": np.full(len(ROWS["count"]), np.nan)},
    "counts that overflow": ROWS | {"count": np.full(len(ROWS["count"]), 1 << 62)},
    "unsigned counts": ROWS | {"count": np.full(len(ROWS["count"]), 2**64 - 1, np.uint64)},
    "counts whose sum overflows": ROWS | {"count": np.full(len(ROWS["count"]), 1 << 60)},
    "another image": ROWS | {"image": ROWS["image"] + 400},
    "flat labels": ROWS | {"labels": ROWS["labels"].ravel()},
    "no images": ROWS | {"ids": np.array([], np.str_)},
    "ids that are numbers": ROWS | {"ids": np.arange(400)},
    "a counted class too many": ROWS | {"counted": np.array([99])},
    "no class counted": ROWS | {"counted": np.array([], np.int32)},
    "sums of another shape": ROWS | {"solver_sums": np.zeros((2, 5), np.int64)},
    "a billion clusters": CLUSTERS | {"clusters": np.array(10**9)},
    "another cluster": CLUSTERS | {"cluster": np.full(400, 2)},
    "few totals": CLUSTERS | {"totals": np.ones(3, np.int64)},
    "negative pixels": CLUSTERS | {"pixels": np.full(400, -1)},
    "another frame": FRAMES | {"frame": np.arange(2) + 1},
    "an infinite J": FRAMES | {"J": np.full(2, np.inf)},
    "an F of 2": FRAMES | {"F": np.full(2, 2.0)},
    "J of text": FRAMES | {"J": np.array(["1", "1"])},
    "no frames": FRAMES | {name: FRAMES[name][:0] for name in ("frame", "object", "J", "F")},
    "fewer objects": FRAMES | {"object": np.ones(1, int)},
}


def with_rows(folder, arrays, entry=ENTRY):
    """The record with rows of these arrays, whose hash it holds."""
    folder.mkdir()
    path = folder / "clustering.rows.npz"
    np.savez_compressed(path, **arrays)
    rows = {"file": path.name, "sha256": sha256_file(path)}
    (folder / "clustering.json").write_text(json.dumps(entry | {"rows": rows}), encoding="utf-8")


@pytest.mark.parametrize("what", ODD_ROWS)
def test_rows_that_do_not_fit_themselves_cost_their_record(tmp_path, what):
    with_rows(tmp_path / "bad", ODD_ROWS[what])
    shutil.copytree(RECORD.parent, tmp_path / "good")
    found, (line,) = sound(read_all(tmp_path)[0])
    assert [entry.path.parent.name for entry in found] == ["good"]
    assert "bad/clustering.rows.npz is missing or damaged" in line


@pytest.mark.slow
def test_rows_that_unpack_to_a_thousand_times_their_size_are_not_unpacked(tmp_path):
    with_rows(tmp_path / "bad", ROWS | {"zeros": np.zeros(1 << 27, np.uint8)})
    found, (line,) = sound(read_all(tmp_path)[0])
    assert found == [] and "bad/clustering.rows.npz is missing or damaged" in line


@pytest.mark.parametrize("classes", [22, 4000, 60_000])
def test_more_classes_than_the_record_has_are_denied_without_a_table_of_their_pairs(tmp_path, classes):
    with_rows(tmp_path / "bad", ROWS | {"num_classes": np.array(classes)})
    found, (line,) = sound(read_all(tmp_path)[0])
    assert found == [] and "bad" in line


def test_a_header_that_promises_more_than_is_there_is_damage(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        header = {"descr": "<i8", "fortran_order": False, "shape": (1 << 40,)}
        with archive.open("count.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, header)
            member.write(bytes(8))
    assert load_npz(path) is None


def test_an_object_in_every_row_is_refused_before_it_takes_minutes(tmp_path):
    count = 200_000
    rows = FRAMES | {
        "frame": np.zeros(count, int),
        "object": np.arange(count),
        "J": np.ones(count),
        "F": np.ones(count),
    }
    size = {"images": len(FRAMES["ids"]), "official_images": None}
    with_rows(tmp_path / "bad", rows, ENTRY | {"seeds": [1234], "dataset": ENTRY["dataset"] | size})
    found, (line,) = sound(read_all(tmp_path)[0])
    assert found == [] and "more than 100,000 objects" in line
