"""`bench check` as a continuous-integration service runs it: exit codes, annotations, summary, JSON, bad files."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.base.errors import BadInput
from bench.base.escaping import without_controls
from bench.records import schema
from bench.records.record import read, read_all
from bench.report.check import Movement, Outcome
from bench.report.github import MOST, SHOWN, annotations_of, command, summary
from tests.conftest import ROOT
from tests.synthetic import keep, make_record
from tests.terminal import bench, said

SUP = "maskcontrast-sup"
FIGURE = f"{SUP} pascal-voc val clustering mIoU"


def parsed(line):
    """A workflow command as the service reads it: (kind, properties, message); None for a line of log."""
    match = re.fullmatch(r"\s*::(\w+)(?: (.*?))?::(.*)", line)
    if not match:
        return None
    kind, properties, message = match.groups()

    def plain(text):
        for sign, code in ((":", "%3A"), (",", "%2C"), ("\n", "%0A"), ("\r", "%0D"), ("%", "%25")):
            text = text.replace(code, sign)
        return text

    pairs = (one.partition("=") for one in (properties or "").split(","))
    return kind, {key: plain(value) for key, _, value in pairs}, plain(message)


def commands(text):
    return [one for line in text.splitlines() if (one := parsed(line))]


def check(results, *arguments):
    """The exit code, and the JSON that `bench check` prints."""
    done = bench("check", "--results", results, "--json", *arguments)
    return done.returncode, json.loads(done.stdout)


def status_of(data, what=FIGURE):
    (found,) = [one for one in data["outcomes"] if one["what"] == what]
    return found["status"], found["fails"]


# --- every outcome ---


@pytest.mark.parametrize(
    "record, status, fails, code",
    [
        (make_record(value=44.4), "reproduced", False, 0),
        (make_record(value=40.0), "below", True, 1),
        (make_record(value=50.0), "above", True, 1),
        (make_record(dataset={"limited": True, "images": 40}), "not comparable", False, 1),
        (make_record(seeds=2), "not comparable", False, 1),
        (make_record(model="other"), "not run", False, 1),
    ],
    ids=["reproduced", "below", "above", "limited", "few seeds", "not run"],
)
def test_each_outcome_has_its_exit_code(tmp_path, record, status, fails, code):
    keep(tmp_path, record)
    found, data = check(tmp_path)
    assert (status_of(data), found) == ((status, fails), code)
    assert data["passed"] == (code == 0)


def rows_of(results):
    return results / SUP / "pascal-voc-val" / "clustering.rows.npz"


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b"spoilt"), "does not fit the record's hash"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    ],
)
def test_rows_that_are_lost_fail_the_check(tmp_path, spoil, says):
    keep(tmp_path, make_record())
    spoil(rows_of(tmp_path))
    code, data = check(tmp_path)
    assert (code, status_of(data)) == (1, ("damaged", True))
    assert says in next(one["detail"] for one in data["outcomes"] if one["what"] == FIGURE)


@pytest.mark.parametrize(
    "forge, says",
    [
        (lambda metric: metric.update(value=44.2), "says mIoU 44.2000, its rows give 40.0000"),
        (lambda metric: metric["per_seed"].__setitem__(4, 50.0), "says mIoU 50.0000, its rows give 40.4000"),
        (lambda metric: metric["per_seed"].pop(), "mIoU of 4 seeds, its rows of 5"),
    ],
    ids=["mean", "one seed", "a seed less"],
)
@pytest.mark.parametrize("edited", ["now", "earlier"])
def test_figures_that_their_rows_do_not_give_fail_the_check(tmp_path, forge, says, edited):
    now = keep(tmp_path / "now", make_record(value=40.0))
    earlier = keep(tmp_path / "earlier", make_record(value=40.0, created="2029-01-01T00:00:00+00:00"))
    forged = {"now": now, "earlier": earlier}[edited]
    forge(forged.record["metrics"]["mIoU"])
    forged.path.write_text(json.dumps(forged.record), encoding="utf-8")
    code, data = check(tmp_path / "now", "--against", tmp_path / "earlier")
    assert (code, status_of(data)) == (1, ("damaged", True))
    assert says in data["outcomes"][0]["detail"]
    assert ("earlier" in data["outcomes"][0]["detail"]) == (edited == "earlier")


def test_a_record_that_names_no_rows_fails_the_check(tmp_path):
    path = keep(tmp_path, make_record()).path
    path.write_text(json.dumps({k: v for k, v in read(path).items() if k != "rows"}), encoding="utf-8")
    assert check(tmp_path)[0] == 1


DAMAGE = {
    "truncated": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "a NaN": lambda text: text.replace(": 44.4", ": NaN"),
    "infinite": lambda text: text.replace(": 44.4", ": 1e999"),
    "foreign": lambda text: '{"results": [1, 2]}',
    "a list": lambda text: "[]",
    "nested without end": lambda text: "[" * 100_000,
    "half a character": lambda text: text.replace("labels, of a kind", "\\ud800"),
    "older": lambda text: text.replace('"schema": 1', '"schema": 0'),
    "newer": lambda text: text.replace('"schema": 1', '"schema": 2'),
    "no schema": lambda text: text.replace('"schema": 1,', ""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_no_record_is_said_skipped_and_never_counted(tmp_path, damage):
    path = keep(tmp_path, make_record(value=44.4)).path
    text = path.read_text(encoding="utf-8")
    assert DAMAGE[damage](text) != text
    path.write_text(DAMAGE[damage](text), encoding="utf-8")
    code, data = check(tmp_path)
    assert (code, status_of(data)) == (1, ("not run", False))
    assert len(data["skipped"]) == 1
    assert str(path) in data["skipped"][0]
    done = bench("check", "--results", tmp_path)
    assert done.returncode == 1
    assert "nothing was compared" in done.stdout
    assert str(path) in done.stderr
    for command_ in (("report",), ("list", "results")):
        other = bench(*command_, "--results", tmp_path)
        assert other.returncode == 0
        assert str(path) in other.stderr


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_required_record_that_cannot_be_read_fails_beside_one_that_passes(tmp_path, damage):
    keep(tmp_path, make_record(model="maskcontrast-unsup", value=35.0))
    path = keep(tmp_path, make_record(value=44.4)).path
    path.write_text(DAMAGE[damage](path.read_text(encoding="utf-8")), encoding="utf-8")
    assert check(tmp_path)[0] == 0
    code, data = check(tmp_path, "--require", f"{SUP}/clustering")
    assert (code, status_of(data)) == (1, ("not run", True))


def test_a_model_known_by_its_folder_alone_may_be_required_and_fails(tmp_path):
    keep(tmp_path, make_record(value=44.4))
    path = keep(tmp_path, make_record(model="my-model")).path
    path.write_text("{", encoding="utf-8")
    code, data = check(tmp_path, "--require", "my-model")
    assert (code, status_of(data, "my-model")) == (1, ("not run", True))
    assert bench("check", "--results", tmp_path, "--require", "my-modle").returncode == 2


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_earlier_record_that_cannot_be_read_is_said_and_satisfies_no_requirement(tmp_path, damage):
    keep(tmp_path / "after", make_record(value=44.4, created="2021-01-01"))
    keep(tmp_path / "after", make_record(model="other", created="2021-01-01"))
    keep(tmp_path / "before", make_record(model="other"))
    path = keep(tmp_path / "before", make_record(value=44.4)).path
    path.write_text(DAMAGE[damage](path.read_text(encoding="utf-8")), encoding="utf-8")
    code, data = check(tmp_path / "after", "--against", tmp_path / "before")
    assert (code, len(data["outcomes"]), len(data["skipped"])) == (0, 1, 1)
    code, data = check(tmp_path / "after", "--against", tmp_path / "before", "--require", SUP)
    assert (code, status_of(data, SUP)) == (1, ("not run", True))


# --- schemas ---


def test_a_record_of_the_first_schema_is_readable_for_ever():
    (stored,), problems = read_all(ROOT / "tests" / "records")
    assert problems == []
    assert stored.record["environment"]["bench"] == "0.1.0"
    assert stored.record["metrics"]["mIoU"]["value"] == pytest.approx(4.721072369)
    done = bench("compare", stored.path, stored.path)
    assert done.returncode == 0
    assert "B − A = +0.00" in done.stdout


def test_an_older_schema_is_read_where_it_can_be_converted(tmp_path, monkeypatch):
    path = keep(tmp_path, make_record()).path
    old = json.loads(path.read_text(encoding="utf-8"))
    old["schema"], old["model"]["labels_seen"] = 0, old["model"].pop("supervision")
    path.write_text(json.dumps(old), encoding="utf-8")
    with pytest.raises(BadInput, match="schema 0 is older"):
        read(path)

    def convert(record):
        model = record["model"]
        return record | {"model": {**model, "supervision": model["labels_seen"]}}

    monkeypatch.setitem(schema.CONVERTERS, 0, convert)
    assert read(path)["schema"] == 1
    assert check(tmp_path)[0] == 0
    del old["model"]["labels_seen"]
    path.write_text(json.dumps(old), encoding="utf-8")
    with pytest.raises(BadInput, match="cannot be converted from schema 0"):
        read(path)


# --- a green check that checked nothing ---


def test_records_are_not_held_against_themselves(tmp_path):
    keep(tmp_path / "results", make_record())
    done = bench("check", "--results", tmp_path / "results", "--against", tmp_path / "results")
    assert done.returncode == 2
    assert "is the folder to check" in done.stderr


def test_a_copy_of_the_earlier_record_is_no_new_run(tmp_path):
    keep(tmp_path / "before", make_record())
    keep(tmp_path / "after", make_record())
    code, data = check(tmp_path / "after", "--against", tmp_path / "before")
    assert (code, status_of(data)) == (1, ("not run", False))
    keep(tmp_path / "after", make_record(created="2021-01-01"))
    assert check(tmp_path / "after", "--against", tmp_path / "before")[0] == 0


def test_a_requirement_of_one_protocol_holds_against_records_too(tmp_path):
    keep(tmp_path / "before", make_record())
    keep(tmp_path / "after", make_record(created="2021-01-01"))
    for required, code in ((f"{SUP}/clustering", 0), (SUP, 0), (f"{SUP}/linear", 1), ("random-shapes", 1)):
        assert check(tmp_path / "after", "--against", tmp_path / "before", "--require", required)[0] == code


@pytest.mark.parametrize("results", ["none", "empty"])
def test_no_records_at_all_fail(tmp_path, results):
    (tmp_path / "empty").mkdir()
    assert bench("check", "--results", tmp_path / results).returncode == 1
    done = bench("check", "--results", tmp_path / results, "--against", tmp_path)
    said(done, 3, f"there is no record below {tmp_path}", "--against")
    assert not done.stdout


# --- annotations ---


@given(st.text(), st.text())
def test_an_annotation_is_one_command_whatever_it_says(title, message):
    line = command("error", title, message)
    assert len(line.splitlines()) == 1
    kind, properties, said = parsed(line)
    assert (kind, set(properties)) == ("error", {"title"})
    for given_, got in ((title, properties["title"]), (message, said)):
        assert [c for c in got if c.isalnum()] == [c for c in without_controls(given_) if c.isalnum()]


def test_signs_with_a_meaning_come_back_as_they_were():
    kind, properties, message = parsed(command("warning", "a: b, c 5%", "100 % of %0A\nnext, line: ::error::x"))
    assert (kind, properties["title"]) == ("warning", "a: b, c 5%")
    assert message == "100 % of %0A\nnext, line: ::error::x"


def test_failures_are_errors_skipped_files_warnings_and_the_verdict_is_last(tmp_path, monkeypatch):
    keep(tmp_path, make_record(value=40.0))
    keep(tmp_path, make_record(model="maskcontrast-unsup", value=35.0, dataset={"limited": True, "images": 40}))
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    assert commands(bench("check", "--results", tmp_path).stderr) == []
    for arguments, variable in ((("--annotations",), ""), ((), "true")):
        monkeypatch.setenv("GITHUB_ACTIONS", variable)
        done = bench("check", "--results", tmp_path, *arguments)
        found = commands(done.stderr)
        assert [kind for kind, _, _ in found] == ["error", "warning", "warning", "error"]
        assert found[0][1]["title"] == "bench check: below"
        assert found[0][2].startswith(f"{FIGURE}: 44.2 published, 40.00 measured")
        assert re.search(r"\nbus 80\.6 → \d", found[0][2])
        assert "broken.json" in found[1][2]
        assert "40 images" in found[2][2]
        assert found[3][2] == done.stdout.splitlines()[-1].removeprefix("FAILED: ")
        assert commands(done.stdout) == []
    assert commands(bench("check", "--results", tmp_path, "--no-annotations").stderr) == []


def test_a_check_that_passed_is_a_notice(tmp_path):
    keep(tmp_path, make_record(value=44.4))
    ((kind, properties, message),) = commands(bench("check", "--results", tmp_path, "--annotations").stderr)
    assert (kind, properties["title"]) == ("notice", "bench check: passed")
    assert "1 reproduced" in message


def test_json_on_stdout_stays_clean_beside_annotations(tmp_path):
    keep(tmp_path, make_record(value=40.0))
    data = check(tmp_path, "--annotations")[1]
    first = data["outcomes"][0]["movement"][0]
    assert (first["name"], first["before"]) == ("bus", 80.63) and 0 < first["after"] < 80


def outcomes(count):
    return [Outcome("below", f"model-{i}", "moved", True, (Movement("cat", 50.0, 40.0),)) for i in range(count)]


@pytest.mark.parametrize("count", [1, MOST - 1, MOST, 500])
def test_no_more_annotations_than_are_shown(count):
    found = [parsed(line) for line in annotations_of(outcomes(count), ["x"] * count, False, "500 below")]
    kinds = [kind for kind, _, _ in found]
    assert kinds.count("error") <= MOST
    assert kinds.count("warning") <= MOST
    assert found[-1][2] == "500 below"
    if count >= MOST:
        assert f"and {count - MOST + 2} more" in found[MOST - 2][2]


# --- the summary ---


def test_the_summary_shows_per_class_movement_and_the_cluster_map(tmp_path, monkeypatch):
    names = {"background": 88.0, "cat": 46.0, "cow": 1.0}
    keep(tmp_path / "before", make_record(per_class=names))
    now = make_record(value=40.0, per_class=names | {"cat": 6.5}, cluster_to_class=[[0, 2, 2]], created="2021-01-01")
    keep(tmp_path / "after", now)
    target = tmp_path / "summary.md"
    target.write_text("what another step wrote\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(target))
    assert bench("check", "--results", tmp_path / "after", "--against", tmp_path / "before").returncode == 1
    text = target.read_text(encoding="utf-8")
    assert text.startswith("what another step wrote\n")
    assert "FAILED" in text
    assert "| cat | 46.00 | 6.50 | -39.50 |" in text
    assert "1 of 3 predicted ids stand for another class: 1: aeroplane → bicycle" in text
    assert "no cluster stands any longer for aeroplane" in text
    assert "44.20 earlier, 40.00 now" in text


def test_a_summary_goes_where_it_is_told_to(tmp_path):
    keep(tmp_path, make_record(value=44.4))
    assert bench("check", "--results", tmp_path, "--summary", tmp_path / "here.md").returncode == 0
    text = (tmp_path / "here.md").read_text(encoding="utf-8")
    assert "### bench check: passed" in text
    assert "| reproduced | maskcontrast-sup pascal-voc val clustering mIoU |" in text


def test_a_summary_that_cannot_be_written_is_an_error_after_the_verdict(tmp_path):
    keep(tmp_path, make_record(value=44.4))
    done = bench("check", "--results", tmp_path, "--summary", tmp_path / "none" / "here.md")
    said(done, 4, f"cannot write the summary to {tmp_path / 'none' / 'here.md'}: No such file", "with --summary")
    assert "passed: 1 reproduced" in done.stdout


@pytest.mark.slow
def test_a_summary_of_thousands_of_figures_fits():
    text = summary(outcomes(5000), [], False, "5000 below")
    assert len(text.encode()) < 2**19
    assert text.count("\n| **below**") == SHOWN
    assert f"{5000 - SHOWN} more are not listed" in text


HOSTILE = "::add-mask::x <script> | `y`\n::error::z\u202e\x1b[31m"


def test_hostile_names_reach_neither_log_nor_summary_as_commands(tmp_path):
    runs = {
        "before": make_record(per_class={HOSTILE: 90.0, "cat": 46.0}),
        "after": make_record(value=40.0, per_class={HOSTILE: 9.0, "cat": 46.0}, created="2021-01-01"),
    }
    for folder, record in runs.items():
        stored = keep(tmp_path / folder, record)
        # names that no run could have written
        stored.record["metrics"][HOSTILE] = stored.record["metrics"]["mIoU"]
        stored.record["protocol"] |= {"modified": True, "variations": [HOSTILE]}
        stored.path.write_text(json.dumps(stored.record), encoding="utf-8")
    target = tmp_path / "s.md"
    paths = ("--results", tmp_path / "after", "--against", tmp_path / "before", "--summary", target)
    done = bench("check", *paths, "--annotations")
    assert done.returncode == 1
    assert commands(done.stdout) == []
    kinds = [(kind, properties["title"]) for kind, properties, _ in commands(done.stderr)]
    assert kinds == [("error", f"bench check: {what}") for what in ("below", "below", "failed")]
    text = target.read_text(encoding="utf-8")
    for sign in ("\x1b", "\u202e", "<script>"):
        assert sign not in text
    assert not {"\x1b", "\u202e"} & set(done.stdout + done.stderr)
    assert not any(line.startswith("::") for line in text.splitlines())
