"""The regression check: every outcome, and that nothing passes unseen."""

import sys

import pytest

from bench.base.errors import WrongName
from bench.cli.check import _print_outcome
from bench.protocols.clustering.preset import ClusteringPreset
from bench.records.published import figures
from bench.records.published_classes import classes_of
from bench.report.check import Movement, against_published, against_records, verdict
from tests.synthetic import keep, make_record, random_rows

SUP = "maskcontrast-sup"
FIGURE = f"{SUP} pascal-voc val clustering mIoU"


def published(stored, required=()):
    """The outcome of the figure 44.2, and the verdict."""
    outcomes = against_published(figures(), stored, required)
    (found,) = [outcome for outcome in outcomes if outcome.what == FIGURE]
    return found, verdict(outcomes)


def compared(earlier, now, required=()):
    """The outcome of the record of 44.2, and the verdict."""
    outcomes = against_records(earlier, now, required)
    (found,) = [outcome for outcome in outcomes if outcome.what == FIGURE]
    return found, verdict(outcomes)


def spoil(stored):
    stored.path.with_name(stored.record["rows"]["file"]).write_bytes(b"spoilt")
    return stored


@pytest.fixture
def before(tmp_path):
    return tmp_path / "before"


@pytest.fixture
def after(tmp_path):
    return tmp_path / "after"


@pytest.mark.parametrize("terminal", [True, False])
def test_an_outcome_is_one_line_but_at_a_terminal(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    _print_outcome(" ".join(["word"] * 40), "reproduced     ")
    lines = capsys.readouterr().out.splitlines()
    assert (max(map(len, lines)) <= 80) == terminal and len(lines) == (4 if terminal else 1)
    assert all(line.startswith(" " * 15) for line in lines[1:])


def test_every_published_figure_has_one_outcome(tmp_path):
    outcomes = against_published(figures(), [keep(tmp_path, make_record())], ())
    assert len(outcomes) == len(figures())
    assert {"reproduced", "not run", "not comparable"} == {outcome.status for outcome in outcomes}


def test_a_reproduced_figure_passes(tmp_path):
    outcome, (passed, line) = published([keep(tmp_path, make_record(value=44.4))])
    assert (outcome.status, outcome.fails, passed) == ("reproduced", False, True)
    assert "44.40 over 20 seeds, difference +0.20, tolerance 0.34" in outcome.detail
    assert "1 reproduced" in line


def test_a_figure_says_that_training_images_overlap_those_it_was_measured_on(tmp_path):
    outcome, (passed, _) = published([keep(tmp_path, make_record(value=44.4))])
    assert passed and "; training images that overlap: its trainaug images were trained on" in outcome.detail
    outcome, _ = published([keep(tmp_path / "limited", make_record(value=44.4, dataset={"limited": True}))])
    assert outcome.status == "not comparable" and "training images that overlap" in outcome.detail


@pytest.mark.parametrize("value, status", [(40.0, "below"), (48.0, "above")])
def test_a_figure_out_of_tolerance_fails_and_says_which_classes(tmp_path, value, status):
    outcome, (passed, line) = published([keep(tmp_path, make_record(value=value))])
    assert (outcome.status, outcome.fails, passed) == (status, True, False)
    assert f"1 {status}" in line
    # beside the authors' own figures of these classes, what moved most first
    known, changes = classes_of(make_record()), [abs(one.change) for one in outcome.movement]
    assert all(one.before == known[one.name].value for one in outcome.movement)
    assert len(changes) == 6 and changes == sorted(changes, reverse=True)
    assert outcome.clusters == (
        "predicted ids of each class: background 0, aeroplane 1, bicycle 2",
        "no cluster stands for bird, boat, bottle, bus, car, cat and 12 more",
    )


def test_without_records_nothing_is_compared_and_nothing_passes():
    outcome, (passed, line) = published([])
    assert (outcome.status, outcome.fails) == ("not run", False)
    assert f"bench run --model {SUP} --dataset pascal-voc --protocol clustering" in outcome.detail
    assert not passed
    assert "nothing was compared" in line


def test_no_figures_at_all_do_not_pass():
    assert verdict(against_published([], [], ())) == (False, "nothing was compared (no figures)")


def test_a_required_figure_that_was_not_run_fails(tmp_path):
    stored = [keep(tmp_path, make_record(model="maskcontrast-unsup", value=35.0))]
    assert published(stored)[1][0]
    outcome, (passed, _) = published(stored, [SUP])
    assert (outcome.status, outcome.fails, passed) == ("not run", True, False)


def test_an_unknown_required_id_is_a_wrong_name_with_the_nearest(tmp_path):
    with pytest.raises(WrongName, match="maskcontrast-supp") as caught:
        published([keep(tmp_path, make_record())], ["maskcontrast-supp"])
    assert SUP in caught.value.remedy


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"dataset": {"limited": True, "images": 40}}, "40 images"),
        ({"protocol": {"published_recipe": False, "modified": True}}, "modified"),
        ({"seeds": 2}, "2 seeds"),
    ],
)
def test_a_run_that_is_not_comparable_neither_passes_nor_satisfies_a_requirement(tmp_path, changes, reason):
    stored = [keep(tmp_path, make_record(**changes))]
    outcome, (passed, _) = published(stored)
    assert (outcome.status, outcome.fails, passed) == ("not comparable", False, False)
    assert reason in outcome.detail
    assert "44.20 measured" in outcome.detail
    assert published(stored, [SUP])[0].fails


def test_a_whole_run_speaks_before_a_newer_limited_one(tmp_path):
    whole = keep(tmp_path, make_record(created="2020-01-01"))
    limited = keep(tmp_path, make_record(created="2021-01-01", value=9.0, dataset={"limited": True, "images": 40}))
    for stored in ([whole, limited], [limited, whole]):
        assert published(stored)[0].status == "reproduced"


def test_the_newest_of_equal_runs_speaks(tmp_path):
    old = keep(tmp_path / "a", make_record(created="2020-01-01", value=9.0))
    new = keep(tmp_path / "b", make_record(created="2021-01-01"))
    for stored in ([old, new], [new, old]):
        assert published(stored)[0].status == "reproduced"


def test_damaged_rows_fail(tmp_path):
    outcome, (passed, line) = published([spoil(keep(tmp_path, make_record()))])
    assert (outcome.status, outcome.fails, passed) == ("damaged", True, False)
    assert "rows.npz" in outcome.detail
    assert "1 damaged" in line


def test_what_needs_eyes_first_is_listed_first(tmp_path):
    stored = [
        keep(tmp_path, make_record(value=30.0)),
        keep(tmp_path, make_record(model="maskcontrast-unsup", value=35.0)),
    ]
    outcomes = against_published(figures(), stored, ())
    assert [outcome.status for outcome in outcomes[:3]] == ["below", "reproduced", "not run"]


def test_equal_records_are_reproduced(before, after):
    outcome, (passed, _) = compared([keep(before, make_record())], [keep(after, make_record(created="2021-01-01"))])
    assert (outcome.status, outcome.fails, outcome.movement, passed) == ("reproduced", False, (), True)
    assert outcome.what == FIGURE


@pytest.mark.parametrize("change, status", [(-2.0, "below"), (2.0, "above")])
def test_a_moved_record_fails_and_shows_where(before, after, change, status):
    old = make_record(per_class={"background": 88.0, "cat": 46.0, "cow": 1.0}, cluster_to_class=[[0, 1, 2]])
    new = make_record(
        value=44.2 + change,
        per_class={"background": 88.0, "cat": 46.0 + 20 * change, "cow": 0.5},
        cluster_to_class=[[0, 2, 1]],
    )
    outcome, (passed, _) = compared([keep(before, old)], [keep(after, new)])
    assert (outcome.status, outcome.fails, passed) == (status, True, False)
    assert outcome.movement[0] == Movement("cat", 46.0, 46 + 20 * change)
    assert Movement("background", 88.0, 88.0) not in outcome.movement
    assert outcome.clusters == (
        "2 of 3 predicted ids stand for another class: 1: aeroplane → bicycle, 2: bicycle → aeroplane",
    )


def test_a_move_within_the_seeds_spread_is_no_regression(before, after):
    # the tolerance is 0.05 + 2·√0.1·√(1/5 + 1/5) = 0.45
    assert compared([keep(before, make_record())], [keep(after, make_record(value=44.63))])[0].status == "reproduced"
    assert compared([keep(before, make_record())], [keep(after, make_record(value=44.67))])[0].status == "above"


def test_a_record_that_is_gone_is_not_run(before, after):
    old = [keep(before, make_record()), keep(before, make_record(model="other"))]
    new = [keep(after, make_record(model="other", created="2021-01-01"))]
    outcome, (passed, _) = compared(old, new)
    assert (outcome.status, outcome.fails, passed) == ("not run", False, True)
    outcome, (passed, _) = compared(old, new, [SUP])
    assert (outcome.fails, passed) == (True, False)


@pytest.mark.parametrize(
    "changes",
    [{"fingerprint": "e" * 64}, {"dataset": {"limited": True, "images": 40}}, {"dataset": {"split": "train"}}],
)
def test_another_run_does_not_stand_in(before, after, changes):
    outcome, (passed, line) = compared([keep(before, make_record())], [keep(after, make_record(**changes))])
    assert (outcome.status, passed) == ("not run", False)
    assert "nothing was compared" in line


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"seeds": 3}, "the earlier record has 5 seeds from 1234, the one here 3 seeds from 1234"),
        ({"dataset": {"limited": True, "images": 40}}, "the earlier record has 1449 images, the one here 40 images"),
        (
            {"protocol": {"preset": ClusteringPreset(clusters=30).resolved()}},
            "the earlier record has clusters=20, the one here clusters=30",
        ),
        ({"fingerprint": "e" * 64}, "the earlier record has fingerprint cd6c2fc6, the one here fingerprint eeeeeeee"),
        ({"protocol": {"variations": ["bfloat16"]}}, "has no variation, the one here bfloat16"),
    ],
    ids=["seeds", "images", "preset", "fingerprint", "precision"],
)
def test_what_keeps_a_run_from_standing_in_is_said(before, after, changes, says):
    new = make_record(**changes)
    if "seeds" in changes:
        new["protocol"]["variations"] = ["seeds1234x3"]
    other = keep(after, make_record(model="other"))
    outcome, _ = compared([keep(before, make_record())], [other, keep(after, new)])
    assert (outcome.status, says in outcome.detail) == ("not run", True), outcome.detail
    assert compared([keep(before, make_record())], [other])[0].detail == "44.20 earlier"


def test_unlike_runs_of_one_protocol_are_told_apart_as_their_files_are(before, after):
    runs = [
        {},
        {"dataset": {"limited": True, "images": 40}},
        {"fingerprint": "e" * 64, "protocol": {"modified": True}},
    ]
    old = [keep(before, make_record(**changes)) for changes in runs]
    names = {outcome.what for outcome in against_records(old, [keep(after, make_record(created="2021-01-01"))], ())}
    assert names == {f"{SUP} pascal-voc val {stored.path.stem} mIoU" for stored in old}
    assert len(names) == 3


@pytest.mark.parametrize("value", [44.2, 30.0])
def test_a_run_with_other_seeds_does_not_stand_in_for_the_whole_one(before, after, value):
    other = {"modified": True, "variations": ["seeds7x3"]}
    new = [
        keep(after, make_record(value=value, created="2021-01-01")),
        keep(after, make_record(value=74.2 - value, seeds=3, protocol=other)),
    ]
    for stored in (new, new[::-1]):
        outcome, _ = compared([keep(before, make_record())], stored)
        assert outcome.status == ("reproduced" if value == 44.2 else "below")


@pytest.mark.parametrize("created", ["2021-01-01", "2020-01-01T00:00:00+00:00", "2019-01-01"])
def test_a_copy_of_the_earlier_record_hides_no_other_of_its_run(before, after, tmp_path, created):
    old, copy = (keep(folder, make_record()) for folder in (before, tmp_path / "copy"))
    new = keep(after, make_record(value=30.0, created=created))
    for stored in ([copy, new], [new, copy]):
        assert compared([old], stored)[0].status == "below"
    assert compared([old], [copy])[0].status == "not run"


def test_a_copy_of_the_earlier_record_speaks_before_a_damaged_one(before, after, tmp_path):
    old, copy = (keep(folder, make_record()) for folder in (before, tmp_path / "copy"))
    outcomes = against_records([old], [copy, spoil(keep(after, make_record(value=30.0, created="2021-01-01")))], ())
    assert [outcome.status for outcome in outcomes] == ["damaged", "not run"]


def test_other_images_are_not_comparable(before, after):
    new = [keep(after, make_record(dataset={"manifest": "b" * 64}))]
    outcome, (passed, _) = compared([keep(before, make_record())], new)
    assert (outcome.status, outcome.fails, passed) == ("not comparable", False, False)
    assert "different images" in outcome.detail


def test_other_images_do_not_satisfy_a_requirement(before, after):
    old = [keep(before, make_record()), keep(before, make_record(model="other"))]
    new = [
        keep(after, make_record(dataset={"manifest": "b" * 64})),
        keep(after, make_record(model="other", created="2021-01-01")),
    ]
    assert compared(old, new)[1][0]
    assert not compared(old, new, [SUP])[1][0]


def test_damaged_rows_fail_against_records_too(before, after):
    outcome, (passed, _) = compared([keep(before, make_record())], [spoil(keep(after, make_record()))])
    assert (outcome.status, outcome.fails, passed) == ("damaged", True, False)


def test_no_earlier_records_do_not_pass(after):
    assert not verdict(against_records([], [keep(after, make_record())], ()))[0]


def test_an_unknown_required_id_is_a_wrong_name_against_records_too(before, after):
    with pytest.raises(WrongName, match="maskcontrast-supp"):
        compared([keep(before, make_record())], [keep(after, make_record())], ["maskcontrast-supp"])


def test_a_required_model_without_an_earlier_record_does_not_pass(before, after):
    now = [keep(after, make_record()), keep(after, make_record(model="other", created="2021-01-01"))]
    assert not verdict(against_records([keep(before, make_record())], now, ["other"]))[0]


def test_rows_belong_to_their_record(tmp_path):
    first = keep(tmp_path / "a", make_record(), random_rows(1, 3))
    second = keep(tmp_path / "b", make_record(), random_rows(2, 3))
    name = first.record["rows"]["file"]
    (first.path.parent / name).write_bytes((second.path.parent / name).read_bytes())
    assert published([first])[0].status == "damaged"


def test_a_requirement_may_name_one_protocol(tmp_path):
    stored = [keep(tmp_path, make_record(value=44.4))]
    assert published(stored, (f"{SUP}/clustering",))[1][0]
    assert not published(stored, (SUP,))[1][0]  # its linear figure was not run
    assert not published(stored, (f"{SUP}/linear",))[1][0]


def test_without_published_classes_the_weakest_are_shown(tmp_path):
    stored = keep(tmp_path, make_record(value=20.0, model="maskcontrast-unsup"))
    first = against_published(figures(), [stored], ())[0]
    assert first.status == "below" and first.movement[0] == Movement("cow", None, 0.1)
