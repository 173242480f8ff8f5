"""Whatever a file in results/ holds, no command fails for it: it is a record, or it is said and skipped."""

import copy
import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.base.errors import BenchError
from bench.records.published import figures
from bench.records.record import dumps, read_all
from bench.report.check import against_published, against_records, verdict
from bench.report.compare import compare, find
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
