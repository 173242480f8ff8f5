"""What an audit only says of a record; and no true record is suspected."""

import json
import os
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import bench
from bench.cards.presets import fingerprint
from bench.protocols.davis.preset import DavisPreset
from bench.protocols.retrieval.preset import RetrievalPreset
from bench.records.audit import audit, remarks, sound
from bench.records.published import figures
from bench.records.record import read_all
from bench.records.recount import SOLVER_GAP
from bench.report.check import against_published, against_records
from bench.report.site.collect import collect
from bench.scoring.frame_rows import FrameRows
from bench.scoring.mask_tables import predicted_ids, table_of
from bench.scoring.matching import match
from bench.scoring.rows import Context
from tests.conftest import ROOT
from tests.forging import (
    MINE,
    OTHER,
    SUP,
    chosen,
    each_seed,
    forge,
    found_at,
    metric,
    perfect,
    place,
    rows_at,
    setting,
    sound_folder,
    then,
    with_preset,
    with_sums,
)
from tests.networks import Colours
from tests.synthetic import keep, make_record, random_rows

# --- what is only said ---


def test_a_date_from_the_future_displaces_nothing(tmp_path):
    honest = keep(tmp_path / "a", make_record(value=40.0))
    outcomes = {}
    for name in ("9999-01-01T00:00:00+00:00", "9999-12-31T23:59:59-23:00", "tomorrow", "2031"):
        forged = keep(tmp_path / name[:5], make_record(value=44.2, created=name))
        for stored in ([honest, forged], [forged, honest]):
            found = [one.detail for one in against_published(figures(), stored, ()) if one.status == "below"]
            outcomes[name] = found
            assert len(found) == 1 and "40.00 measured" in found[0]
        lines = remarks(sound([forged])[0])
        assert any("it counts as the oldest" in line for line in lines)


def test_a_date_from_the_future_speaks_for_no_run_against_earlier_ones(tmp_path):
    old = keep(tmp_path / "old", make_record(value=44.2))
    honest = keep(tmp_path / "a", make_record(value=40.0, created="2021-01-01"))
    forged = keep(tmp_path / "b", make_record(value=44.2, created="9999-01-01"))
    for stored in ([honest, forged], [forged, honest]):
        (found,) = against_records([old], stored, ())
        assert (found.status, "40.00 now" in found.detail) == ("below", True)


@pytest.mark.parametrize(
    "change, says",
    [
        (setting("model", supervision="next to nothing"), "it has another supervision than the card of"),
        (setting("model", initialisation="MoCo v2", prior="none"), "it has another initialisation and prior than"),
        (setting("model", title="The best", paper=None), "it has another title and paper than the card"),
        (lambda r: r.update(created="soon"), "its date 'soon' is none"),
    ],
)
def test_a_catalogue_s_model_is_described_in_its_card_s_words(tmp_path, change, says):
    path = forge(place(sound_folder(tmp_path)), change)
    found = found_at(path, tmp_path)
    assert found.problem is None and not found.stored.doubts
    assert any(says in text for text in found.stored.notes)
    shipped = json.loads((ROOT / "results" / MINE / "shapes-val" / "clustering.json").read_text(encoding="utf-8"))
    assert found.stored.record["model"] == shipped["model"]


def test_one_seed_under_the_numbers_of_five_is_named(tmp_path):
    def copied(rows):
        return replace(rows, seeds=rows.seeds[:1] * 5, labels=rows.labels[:1].repeat(5, axis=0))

    path = forge(place(sound_folder(tmp_path)), lambda record: None, copied)
    assert "its rows are the same under all of its 5 seeds" in found_at(path, tmp_path).stored.notes


def test_a_record_that_lies_where_another_would_is_named(tmp_path):
    sound_folder(tmp_path, (MINE,))
    moved = tmp_path / OTHER / "shapes-train" / "linear.json"
    shutil.copytree(place(tmp_path).parent, moved.parent)
    moved.with_name("clustering.json").rename(moved)
    notes = found_at(moved, tmp_path).stored.notes
    for mine, other in ((MINE, OTHER), ("shapes-val", "shapes-train"), ("clustering", "linear")):
        assert f"it is of {mine}, and lies where one of {other} would" in notes


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_are_named(tmp_path):
    sound_folder(tmp_path / "there", (MINE,))
    link = tmp_path / "here" / "x" / "y" / "clustering.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(place(tmp_path / "there"))
    rows = link.with_name("clustering.rows.npz")
    rows.symlink_to(place(tmp_path / "there").with_name(rows.name))
    notes = found_at(link, tmp_path / "here").stored.notes
    assert any("it is a link to" in text for text in notes) and any("rows are a link to" in text for text in notes)


def test_two_records_of_one_run_with_other_figures_name_each_other(tmp_path):
    sound_folder(tmp_path, (MINE,))
    forged = forge(place(tmp_path), lambda r: None, perfect, to=tmp_path / "x" / "y" / "z.json")
    for path, other in ((forged, place(tmp_path)), (place(tmp_path), forged)):
        notes = found_at(path, tmp_path).stored.notes
        assert f"{other} is of the same run, with other figures" in notes


def test_two_hashes_under_the_id_of_a_checkpoint_without_a_published_one_are_named(tmp_path):
    for name in "ab":
        record = make_record(value=44.2 if name == "a" else 40.0)
        record["model"]["weights_sha256"] = name * 64
        keep(tmp_path / name, record)
    for one in audit(read_all(tmp_path)[0]):
        assert any(f"it has other weights under the id {SUP} than" in text for text in one.stored.notes)


def of_data(tmp_path, name, lost=0, dataset="own", ids=None):
    """A record of a data set of one's own, or of another; without the rows of the first images."""
    rows = random_rows(len(name), images=60)
    rows = each_seed(rows, lambda own: chosen(own, own.image >= lost))
    rows = rows if ids is None else replace(rows, ids=ids)
    record = make_record(model=name, seeds=2, per_class={}, dataset={"id": dataset, "images": 60})
    record |= {"metrics": rows.metrics("zero", drawn=False), "cluster_to_class": []}
    return keep(tmp_path / name, record, rows)


def test_without_a_majority_both_of_two_that_differ_are_named_and_with_one_the_other(tmp_path):
    one, three, lost = (
        of_data(tmp_path, name, number, "pascal-voc") for name, number in (("one", 0), ("three", 0), ("with-less", 20))
    )
    both = audit([one, lost])
    assert all("of the same images: one of them was changed" in found.problem for found in both)
    most = audit([one, lost, three])
    assert [bool(found.problem) for found in most] == [False, True, False]
    assert "and 1 more" in most[1].problem


def test_a_record_that_denies_itself_says_nothing_against_others(tmp_path):
    honest, lost = of_data(tmp_path, "one", 0, "pascal-voc"), of_data(tmp_path, "short", 20, "pascal-voc")
    lost.record["protocol"]["preset"]["iterations"] = 1
    found = audit([honest, lost])
    assert found[0].problem is None and "fingerprint" in found[1].problem


def test_a_card_of_one_s_own_may_have_changed_between_two_runs_but_no_ids(tmp_path):
    one, three, lost = (of_data(tmp_path, name, number) for name, number in (("one", 0), ("three", 0), ("short", 20)))
    found = audit([one, lost, three])
    assert [one.problem for one in found] == [None] * 3
    assert [bool(one.stored.doubts) for one in found] == [False, True, False]
    assert found[1].stored.doubts[0].endswith("of the same images: one of them, or the card, was changed")
    renamed = of_data(tmp_path, "renamed", ids=tuple(f"x{i}" for i in range(60)))
    assert "its ids or labelled pixels are not those of" in audit([one, three, renamed])[2].problem


def test_sums_of_another_device_s_seeds_let_no_figure_pass_by_their_distance(tmp_path):
    def sums(rows):
        made = with_sums(rows, theirs=0.2)
        return replace(made, solver_sums=np.roll(made.solver_sums, 1, axis=1))

    def gap(rows):
        return lambda record: record.update(solver_gap=rows.solver_gap(record["protocol"]["preset"]))

    sound_folder(tmp_path, (MINE,))
    path = place(tmp_path)
    forge(path, gap(sums(rows_at(path))), sums)
    found = found_at(path, tmp_path)
    assert found.problem is None and SOLVER_GAP in found.stored.claimed
    honest = sound_folder(tmp_path / "honest", (MINE,))
    made = with_sums(rows_at(place(honest)), theirs=0.2)
    forge(place(honest), gap(made), lambda rows: made)
    assert found_at(place(honest), honest).stored.claimed == frozenset()


# --- figures that no row gives ---


def test_an_invented_metric_is_claimed_and_ranked_nowhere(tmp_path):
    for name in ("superscore", "JF_mean", "mIoU_last_epoch", "boundary_mIoU"):
        results = sound_folder(tmp_path / name, (MINE,))
        path = forge(place(results), metric(name, value=99.0, per_seed=[99.0] * 5, std=0.0))
        found = found_at(path, results)
        assert found.problem is None and name in found.stored.claimed
        (run,) = collect(figures(), [found.stored], results, []).runs
        assert "rows do not give" in run.context_of(name) and run.context_of("mIoU") == ""


def test_the_spread_of_a_claimed_figure_widens_no_tolerance(tmp_path):
    def stored(folder, value, per_seed, created):
        results = sound_folder(tmp_path / folder, (MINE,))
        spread = float(np.std(per_seed, ddof=1))
        change = metric("boundary_mIoU", value=value, per_seed=per_seed, std=spread)
        forge(place(results), then(change, lambda r: r.update(created=created)))
        return read_all(results)[0]

    old = stored("old", 50.0, [50.0] * 5, "2020-01-01")
    wide = stored("wide", 40.0, [20.0, 60.0, 20.0, 60.0, 40.0], "2021-01-01")
    close = stored("close", 50.0, [49.9, 50.1, 50.0, 50.0, 50.0], "2021-01-01")
    for new, status in ((wide, "not comparable"), (close, "reproduced")):
        found = next(one for one in against_records(old, new, ()) if one.what.endswith("boundary_mIoU"))
        assert found.status == status and "claimed" in found.detail


def test_what_a_record_says_of_published_figures_is_not_asked(tmp_path):
    record = make_record(value=40.0) | {"published": {"mIoU": {"status": "reproduced", "tolerance": 99.0}}}
    found = [one for one in against_published(figures(), [keep(tmp_path, record)], ()) if one.measured]
    assert [one.status for one in found] == ["below"]


def test_a_figure_of_weights_that_no_card_has_the_hash_of_says_so(tmp_path):
    outcome = next(one for one in against_published(figures(), [keep(tmp_path, make_record())], ()) if one.measured)
    assert outcome.status == "reproduced" and "; of weights without a published hash" in outcome.detail


# --- rows of other kinds ---


def retrieval(tmp_path, rows, name="retrieval-7", **entries):
    preset = RetrievalPreset(input=(8, 8), **entries).resolved()
    protocol = {"id": name, "preset": preset, "deterministic": True, "published_recipe": False, "modified": True}
    record = make_record(model="own", seeds=0, protocol=protocol, dataset={"id": "own", "images": len(rows.ids)})
    record |= {"seeds": [], "per_class": rows.per_class("abcd"), "cluster_to_class": [], "solver_gap": 0.0}
    return keep(tmp_path, record | {"metrics": rows.metrics("zero", drawn=False)}, rows)


def small(counted=None, factor=1):
    rows = replace(random_rows(1, images=30, seeds=1), labels=np.zeros((1, 0), np.int32), counted=counted)
    return each_seed(rows, lambda own: replace(own, count=np.ones_like(own.count) * factor))


def test_the_mean_of_retrieval_is_that_of_its_preset(tmp_path):
    fits = retrieval(tmp_path / "a", small((1, 3)), void_classes=("c",), averaged="objects")
    assert audit([fits])[0].problem is None
    one = retrieval(tmp_path / "b", small((3,)), void_classes=("c",), averaged="objects")
    assert "average over 1 of 4 classes, its preset over 2" in audit([one])[0].problem


def test_no_image_has_more_pixels_than_the_grid_that_they_are_counted_on(tmp_path):
    assert audit([retrieval(tmp_path / "a", small(), "retrieval-21")])[0].problem is None
    many = retrieval(tmp_path / "b", small(factor=1000), "retrieval-21")
    assert "more pixels in its rows than its input size, 8×8" in audit([many])[0].problem


def video(tmp_path, name, lost=0, sequences=2):
    """J and F of an object in each of three frames of every sequence, of the built-in data set."""
    ids = tuple(f"seq{i}/{frame:05d}" for i in range(sequences) for frame in range(5))
    frame = np.flatnonzero([0 < i % 5 < 4 for i in range(len(ids))]).astype(np.int32)[lost:]
    shares = np.linspace(0.3, 0.9, len(frame)) + len(name) / 100
    rows = FrameRows(ids, frame, np.ones(len(frame), np.int32), shares, shares)
    preset = DavisPreset(features="embedding").resolved()
    protocol = {"id": "davis", "preset": preset, "deterministic": True}
    dataset = {"id": "davis", "split": "val-2017", "images": len(ids), "sequences": sequences}
    record = make_record(model=name, seeds=0, protocol=protocol, dataset=dataset, per_class={})
    record |= rows.entries(Context(intervals=False)) | {"seeds": [], "cluster_to_class": []}
    for said in record["metrics"].values():
        said.pop("ci95", None)
    return keep(tmp_path / name, record, rows)


def test_frames_that_were_dropped_are_found_and_a_part_of_the_sequences_is_no_whole(tmp_path):
    one, other, short = video(tmp_path, "one"), video(tmp_path, "other"), video(tmp_path, "short", lost=1)
    assert [bool(found.problem) for found in audit([one, short, other])] == [False, True, False]
    (found,) = audit([one])
    assert found.stored.doubts == ("run on 2 of 30 sequences: not the whole split, though it says so",)


def test_predictions_have_a_fingerprint_of_their_own(tmp_path):
    rows = replace(random_rows(1, images=30), labels=np.zeros((2, 0), np.int32))
    preset = {"matching": "none", "grid": "label", "absent": "zero"}
    for number, hashed in enumerate((preset, preset | {"absent": "skip"})):
        protocol = {"id": "predictions", "preset": preset, "published_recipe": False}
        protocol["fingerprint"] = fingerprint("predictions", hashed)
        # by the id of the model that painted them; the hash is that of what was painted
        record = make_record(model=MINE, seeds=2, protocol=protocol, dataset={"id": "own", "images": 30}, per_class={})
        record |= {"metrics": rows.metrics("zero", drawn=False), "cluster_to_class": []}
        found = audit([keep(tmp_path / str(number), record, rows)])[0]
        assert (found.problem is None) == (number == 0)


# --- no true record is suspected ---


def test_the_records_that_come_with_the_program_are_beyond_suspicion(tmp_path):
    for results in (ROOT / "results", ROOT / "tests" / "records", sound_folder(tmp_path)):
        for one in audit(read_all(results)[0]):
            assert (one.problem, one.stored.doubts, one.stored.notes) == (None, (), ()), one.stored.path


COUNTED_OTHERWISE = [
    ("clustering-dense", {"clusters": 5, "pixels": 10, "restarts": 1}),
    ("patch-clustering", {"clusters": 5, "points_per_cluster": None, "restarts": 1}),
    ("patch-clustering", {"clusters": 5, "points_per_cluster": None, "restarts": 1, "drop_last_batch": 9}),
    ("stego-kmeans", {"pixels": 10, "train": "train", "restarts": 1}),
    ("stego-kmeans", {"pixels": 10, "train": "train", "restarts": 1, "extra_clusters": 4}),
    ("in-context", {"bank": "train", "augmentation": "none", "passes": 1}),
    ("in-context", {"bank": "train", "augmentation": "none", "passes": 1, "ignored": 0}),
]
"""Of the same images: at their own size, on a grid, in a crop, without a class, a batch, or what is predicted extra."""


@pytest.mark.slow
def test_records_that_count_other_pixels_of_the_same_images_do_not_deny_each_other(golden, tmp_path):
    for number, (protocol, entries) in enumerate(COUNTED_OTHERWISE):
        bench.evaluate(
            Colours(),
            "pascal-voc",
            protocol,
            data_root=golden / "VOCSegmentation",
            cache=tmp_path / "cache",
            results=tmp_path / "r",
            name=f"m{number}",
            num_seeds=2 if protocol == "stego-kmeans" else None,
            entries={"input": [32, 32], **entries},
        )
    stored, problems = read_all(tmp_path / "r")
    assert not problems and len(stored) == len(COUNTED_OTHERWISE)
    assert {one.stored.path.name: one.problem for one in audit(stored) if one.problem} == {}


def limited(rows):
    """The first images, matched on these alone."""
    first = each_seed(rows, lambda own: chosen(own, own.image < 40))
    few = replace(first, ids=rows.ids[:40], labels=rows.labels[:, :40], subsamples=None)
    found = []
    for number, own in enumerate(few.seeds):
        table = np.zeros((21, 21), np.int64)
        counted = table_of(few, number)
        table[: len(counted)] = counted
        classes = match(table)[predicted_ids(few, number)]
        found.append(replace(own, predicted=np.where(classes < 0, 21, classes).astype(np.int32)))
    return replace(few, seeds=tuple(found))


def without_optimism(record):
    """Of a protocol whose matching nobody here knows."""
    record.pop("optimism", None)


def of_another_order(record):
    for said in record["metrics"].values():
        said["value"] += 1e-9
        said["per_seed"] = [value - 1e-9 for value in said["per_seed"]]


def without_later_keys(record):
    for part, keys in {
        "model": ("architecture", "paper", "title", "initialisation", "prior"),
        "protocol": ("deterministic", "variations", "published_recipe", "modified"),
        "dataset": ("official_images", "cut", "layout", "title"),
    }.items():
        for key in keys:
            record[part].pop(key, None)
    for key in ("cost", "environment", "created", "solver", "observed", "cluster_to_class", "published"):
        record.pop(key, None)


own_preset = then(with_preset(iterations=50), setting("protocol", modified=True, published_recipe=False))
TRUE = {
    "another machine": (then(of_another_order, setting("solver", threads=64, device="cuda:0")), None),
    "a clock that is an hour ahead": (
        lambda r: r.update(created=(datetime.now(UTC) + timedelta(hours=1)).isoformat()),
        None,
    ),
    "a time zone": (lambda r: r.update(created="2026-02-03T04:05:06+09:00"), None),
    "an earlier version": (without_later_keys, None),
    "a later version's keys": (lambda r: r.update(more={"of": "this"}, half_sums=[1], warnings=["x"]), None),
    "a limited run": (setting("dataset", limited=True, manifest="a" * 64), limited),
    "a modified run": (own_preset, None),
    "the authors' solver": (
        then(
            lambda r: r["protocol"]["preset"].update(solver="minibatch", restarts=3, batch=1000),
            with_preset(),
            setting("protocol", modified=True),
        ),
        None,
    ),
    "other seeds": (
        then(
            lambda r: r.update(seeds=[7, 8, 9, 10, 11]),
            setting("protocol", modified=True, variations=["seeds7x5"]),
        ),
        None,
    ),
    "another precision": (
        then(setting("cost", precision="bfloat16"), setting("protocol", modified=True, variations=["bfloat16"])),
        None,
    ),
    "an entry of a later version, modified": (
        then(with_preset(sharpness=3), setting("protocol", modified=True, published_recipe=False)),
        None,
    ),
    "a protocol of another package": (
        then(setting("protocol", id="nearest-mean", preset={"metric": "cosine"}), with_preset(), without_optimism),
        None,
    ),
    "a variant of a protocol of another package": (
        then(setting("protocol", id="nearest-mean+crf", preset={"crf": True}, fingerprint="a" * 64), without_optimism),
        None,
    ),
    "a data set of one's own": (
        then(setting("dataset", id="my-shapes", split="all", manifest="a" * 64, official_images=None), own_preset),
        None,
    ),
    "painted predictions of a catalogue's model": (
        then(
            setting("model", weights_sha256="a" * 64),
            setting("protocol", id="predictions+iou", preset={"matching": "iou", "grid": "label", "absent": "zero"}),
            lambda r: r["protocol"].update(fingerprint=fingerprint("predictions", r["protocol"]["preset"])),
            setting("protocol", published_recipe=False),
        ),
        lambda rows: replace(rows, labels=np.zeros((5, 0), np.int32)),
    ),
}


@pytest.mark.parametrize("what", TRUE)
def test_no_true_record_is_suspected(tmp_path, what):
    change, rows = TRUE[what]
    sound_folder(tmp_path)
    forge(place(tmp_path), change, rows, to=tmp_path / "x" / "y" / "z.json")
    for one in audit(read_all(tmp_path)[0]):
        assert (one.problem, one.stored.doubts, one.stored.notes) == (None, (), ()), one.stored.path


def test_a_copy_of_a_record_is_no_second_model(tmp_path):
    sound_folder(tmp_path)
    shutil.copytree(tmp_path / MINE, tmp_path / "local" / MINE)
    shutil.copytree(tmp_path / MINE, tmp_path / "elsewhere" / MINE)
    for one in audit(read_all(tmp_path)[0]):
        assert (one.problem, one.stored.doubts, one.stored.notes) == (None, (), ())


def test_own_weights_under_two_names_are_said_and_no_more(tmp_path):
    rows = random_rows(1, images=60)
    for name in ("net", "net-converted"):
        record = make_record(model=name, seeds=2, per_class={}, dataset={"id": "own", "images": 60})
        record |= {"metrics": rows.metrics("zero", drawn=False), "cluster_to_class": []}
        keep(tmp_path, record, rows)
    for one in audit(read_all(tmp_path)[0]):
        assert (one.problem, one.stored.doubts) == (None, ())
        assert "a record of other weights" in one.stored.notes[0]


def test_two_networks_that_see_nothing_salient_are_not_one(tmp_path):
    """Whose predictions are all background."""
    nothing = each_seed(random_rows(1, images=60), lambda own: replace(own, predicted=np.zeros_like(own.predicted)))
    for name in ("dead", "dead-too"):
        record = make_record(model=name, seeds=2, per_class={}, dataset={"id": "own", "images": 60})
        record |= {"metrics": nothing.metrics("zero", drawn=False), "cluster_to_class": []}
        keep(tmp_path, record, nothing)
    for one in audit(read_all(tmp_path)[0]):
        assert (one.problem, one.stored.doubts, one.stored.notes) == (None, (), ())


def test_a_record_and_rows_rewritten_together_are_found_by_running_again_alone(tmp_path):
    """What the documents say of it."""
    path = forge(place(sound_folder(tmp_path, (MINE,))), lambda r: None, perfect)
    found = found_at(path, tmp_path)
    assert (found.problem, found.stored.doubts) == (None, ())
    assert found.stored.record["metrics"]["mIoU"]["value"] > 99
    assert re.search(r"rewritten together.*running it again", (ROOT / "docs" / "reproducing.md").read_text("utf-8"))
