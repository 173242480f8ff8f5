"""Every command that reads records names what an audit finds."""

import json

import pytest

from bench.records.audit import audit
from bench.records.record import read_all
from tests.forging import (
    MINE,
    OTHER,
    forge,
    metric,
    place,
    setting,
    sound_folder,
    then,
    with_preset,
)
from tests.terminal import bench


@pytest.fixture
def edited(tmp_path):
    """A folder in which a record of a catalogue's model, which answers to no published figure, was edited."""
    forge(place(sound_folder(tmp_path / "results")), metric("mIoU", value=71.31))
    return tmp_path / "results"


SAYS = "it says mIoU 71.3100, its rows give 51.3"


def test_check_fails_for_an_edited_record_that_answers_to_no_figure(edited):
    done = bench("check", "--results", edited)
    assert done.returncode == 1
    assert f"damaged        {MINE} shapes val clustering: {SAYS}" in done.stdout
    assert "nothing was compared (1 damaged" in done.stdout.splitlines()[-1]
    told = json.loads(bench("check", "--results", edited, "--json").stdout)
    assert told["outcomes"][0]["status"] == "damaged" and told["passed"] is False


@pytest.mark.parametrize("side", ["--results", "--against"])
def test_check_against_earlier_records_fails_for_an_edited_one_on_either_side(edited, tmp_path, side):
    sound_folder(tmp_path / "other")
    here, there = (edited, tmp_path / "other") if side == "--results" else (tmp_path / "other", edited)
    done = bench("check", "--results", here, "--against", there)
    assert done.returncode == 1
    assert f"damaged        {MINE} shapes val clustering mIoU: " in done.stdout and SAYS in done.stdout


def test_check_against_earlier_records_names_an_edited_one_that_they_lack(edited, tmp_path):
    sound_folder(tmp_path / "other", (OTHER,))
    done = bench("check", "--results", edited, "--against", tmp_path / "other")
    assert done.returncode == 1
    assert f"damaged        {MINE} shapes val clustering: {SAYS}" in done.stdout


@pytest.mark.parametrize("form", ["md", "csv"])
def test_reports_leave_an_edited_record_out_and_name_it(edited, form):
    done = bench("report", "--format", form, "--results", edited)
    assert done.returncode == 0
    assert SAYS in done.stderr and "71.31" not in done.stdout and OTHER in done.stdout


@pytest.mark.slow
def test_the_site_leaves_an_edited_record_out_and_names_it(edited, tmp_path):
    assert bench("report", "--out", tmp_path / "site", "--results", edited).returncode == 0
    assert SAYS in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert not list((tmp_path / "site" / "models").glob(f"{MINE}*"))


def test_a_listing_leaves_an_edited_record_out_and_names_it(edited):
    done = bench("list", "results", "--results", edited)
    assert done.returncode == 0
    assert SAYS in done.stderr and MINE not in done.stdout and OTHER in done.stdout


def test_no_comparison_with_an_edited_record(edited):
    done = bench("compare", MINE, OTHER, "--results", edited)
    assert done.returncode == 3 and SAYS in done.stderr


@pytest.mark.slow
def test_every_command_says_what_it_doubts(tmp_path):
    forge(place(sound_folder(tmp_path)), then(with_preset(iterations=1), setting("model", supervision="little")))
    doubt, words = "iterations is 1 instead of 100", "another supervision than the card of maskcontrast-shapes"
    for command in (
        ("check", "--results"),
        ("report", "--format", "md", "--results"),
        ("list", "results", "--results"),
        ("compare", MINE, MINE, "--resamples", "100", "--results"),
    ):
        done = bench(*command, tmp_path)
        assert doubt in done.stderr and words in done.stderr, command
        assert done.returncode == (command[0] == "check") and "little" not in done.stdout
    told = bench("report", "--format", "md", "--results", tmp_path).stdout
    assert "51.31 (in doubt)" in told and told.count("In doubt, and so not ranked: ") == 1
    for form in ("csv", "json", "latex"):
        assert "doubt" in bench("report", "--format", form, "--results", tmp_path).stdout
    badge = bench("report", "--format", "badge", "--figure", f"{MINE}/shapes-val/clustering", "--results", tmp_path)
    assert json.loads(badge.stdout)["message"] == "51.31 (in doubt)"
    assert "clustering (in doubt)" in bench("list", "results", "--results", tmp_path).stdout
    told = json.loads(bench("check", "--results", tmp_path, "--json").stdout)
    assert any(doubt in line for line in told["remarks"])


def test_a_record_without_rows_is_claimed_unless_it_denies_itself(tmp_path):
    bare = forge(place(sound_folder(tmp_path)), lambda r: r.pop("rows"))
    done = bench("list", "results", "--results", tmp_path)
    assert "51.31 (claimed)" in done.stdout
    forge_text = json.loads(bare.read_text(encoding="utf-8"))
    forge_text["protocol"]["preset"]["iterations"] = 1
    bare.write_text(json.dumps(forge_text), encoding="utf-8")
    done = bench("list", "results", "--results", tmp_path)
    assert MINE not in done.stdout and "its fingerprint is not that of" in done.stderr


def test_rows_are_read_once(tmp_path, monkeypatch):
    stored = read_all(sound_folder(tmp_path))[0]
    audit(stored)  # which reads those that came with the program
    opened = []
    from bench.scoring import rows as rows_of

    read = rows_of.read
    monkeypatch.setattr(rows_of, "read", lambda path: opened.append(path) or read(path))
    audit(stored)
    assert sorted(path for path in opened if path.is_relative_to(tmp_path)) == sorted(
        one.path.with_name("clustering.rows.npz") for one in stored
    )
