"""Whatever can be found out about a record without running anything is found, and no true record is suspected."""

import json
import os
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bench.cards.presets import fingerprint
from bench.protocols.retrieval.preset import RetrievalPreset
from bench.records.audit import audit, remarks, sound
from bench.records.published import figures
from bench.records.record import read_all
from bench.records.recount import SOLVER_GAP
from bench.report.check import against_published, against_records
from bench.report.site.collect import collect
from bench.report.tables import best_answer
from bench.scoring.mask_tables import predicted_ids, table_of
from bench.scoring.matching import match
from tests.conftest import ROOT
from tests.forging import (
    MINE,
    OTHER,
    chosen,
    each_seed,
    forge,
    found_at,
    perfect,
    place,
    rows_at,
    sound_folder,
    with_preset,
    without_the_worst,
)
from tests.synthetic import keep, make_record, random_rows
from tests.terminal import bench

SUP = "maskcontrast-sup"


def then(*changes):
    def change(record):
        for one in changes:
            one(record)

    return change


def setting(part, **entries):
    return lambda record: record[part].update(entries)


def metric(name, **entries):
    return lambda record: record["metrics"].setdefault(name, {}).update(entries)


def relabelled(model, **entries):
    words = {"supervision": "ImageNet labels and saliency labels", "title": model, "architecture": None}
    return setting("model", id=model, **(words | entries))


# --- what no true record says: it is left out of everything, and fails a check ---


def drop_a_seed_s_rows(rows):
    first = chosen(rows.seeds[1], rows.seeds[1].image > 100)
    return replace(rows, seeds=(rows.seeds[0], first, *rows.seeds[2:]))


def inflate_the_best(rows):
    best = int(np.nanargmax(rows.image_scores()[0]))
    return each_seed(rows, lambda own: replace(own, count=np.where(own.image == best, 1000, 1) * own.count))


def paint_some_otherwise(rows):
    def repaint(own):
        right = (own.image < 20) & (own.predicted > 0)
        return replace(own, predicted=np.where(right, own.true, own.predicted).astype(np.int32))

    return each_seed(rows, repaint)


def two_clusters_on_a_class(rows):
    """What the second cluster's images are painted with is the class of the first."""
    found = []
    for labels, own in zip(rows.labels, rows.seeds, strict=True):
        inside = np.arange(len(own.image)) <= np.flatnonzero(np.diff(own.image) < 0)[0]
        first, second = (inside & (labels[own.image] == cluster) for cluster in (0, 1))
        found.append(replace(own, predicted=np.where(second, own.predicted[first][0], own.predicted)))
    return replace(rows, seeds=tuple(found))


def with_sums(rows, theirs=0.0):
    """Sums of both solvers: ours as the rows have them under their own seeds."""
    ours = np.tile([rows.sums(seed) for seed in range(5)], (4, 1))
    other = ours.copy()
    other[:, 0] = other[:, 0] * (1 - theirs)
    return replace(rows, solver_sums=np.stack([ours, other]))


def with_impossible_sums(rows):
    sums = with_sums(rows).solver_sums.copy()
    sums[1, :, 0] = 10**15
    return replace(rows, solver_sums=sums)


PROBLEMS = {
    "a figure edited": (metric("mIoU", value=71.31), None, "it says mIoU 71.3100, its rows give 51.3"),
    "NMI of 99": (metric("nmi", value=99.0, per_seed=[99.0] * 5, std=0.0), None, "it says nmi 99.0000"),
    "a deviation that widens": (metric("mIoU", std=60.0), None, "a deviation of mIoU of 60.0000"),
    "a preset edited": (lambda r: r["protocol"]["preset"].update(iterations=1), None, "its fingerprint is not that of"),
    "a fingerprint edited": (setting("protocol", fingerprint="e" * 64), None, "its fingerprint is not that of"),
    "a fingerprint copied": (setting("protocol", fingerprint=fingerprint("linear", {})), None, "its fingerprint is"),
    "weights edited": (setting("model", weights_sha256="b" * 64), None, "are not those of maskcontrast-shapes"),
    "weights that are no hash": (setting("model", weights_sha256="mine"), None, "its weights' hash is no SHA-256"),
    "no label seen": (setting("model", supervision="None "), None, "says that maskcontrast-shapes has seen no label"),
    "another network": (
        lambda r: r["model"]["architecture"].update(backbone="resnet50"),
        None,
        "says that maskcontrast-shapes has backbone = resnet50, its card says resnet18",
    ),
    "4000 images": (setting("dataset", images=4000), None, "it says 4000 images, its rows have 400"),
    "a part as the whole": (setting("dataset", official_images=1449), None, "of the whole split, and of 400 of 1449"),
    "nothing drawn": (setting("protocol", deterministic=True), None, "nothing was drawn at random, and names seeds"),
    "no seeds": (
        then(lambda r: r.update(seeds=[]), setting("protocol", deterministic=True)),
        None,
        "it names no seeds, and its protocol draws much at random",
    ),
    "a seed twice": (lambda r: r.update(seeds=[1234, 1235, 1236, 1237, 1237]), None, "it names a seed twice"),
    "seeds under a mark of others": (
        setting("protocol", modified=True, variations=["seeds7x5"]),
        None,
        "its variation is seeds7x5, and its seeds are others",
    ),
    "another protocol": (setting("protocol", id="linear"), None, "its fingerprint is not that of"),
    "another protocol with its fingerprint": (
        then(setting("protocol", id="linear"), with_preset()),
        None,
        "its rows have a cluster for each image, which linear makes none of",
    ),
    "a protocol of more clusters": (
        then(setting("protocol", id="overclustering-500"), with_preset()),
        None,
        "it is of overclustering-500, and its preset has clusters = 20",
    ),
    "a percentage of 250": (
        metric("boundary_mIoU", value=250.0, per_seed=[250.0] * 5),
        None,
        "it says Boundary mIoU 250.00, which no percentage of this kind can be",
    ),
    "a percentage below 0": (
        metric("mIoU_last_epoch", value=-1.0, per_seed=[-1.0] * 5),
        None,
        "it says mIoU, last epoch -1.00, which no percentage",
    ),
    "the worst images' rows dropped": (
        lambda r: None,
        without_the_worst,
        "its ids or labelled pixels are not those of",
    ),
    "one image's rows dropped": (
        lambda r: None,
        lambda rows: without_the_worst(rows, 1),
        "its ids or labelled pixels are not those of",
    ),
    "rows dropped under one seed": (
        lambda r: None,
        drop_a_seed_s_rows,
        "its rows of seed 1235 are of other labelled pixels than those of seed 1234",
    ),
    "the best image's pixels times 1000": (
        lambda r: None,
        inflate_the_best,
        "its ids or labelled pixels are not those",
    ),
    "ids renamed": (
        lambda r: None,
        lambda rows: replace(rows, ids=tuple(f"2007_{i:06d}" for i in range(400))),
        "its ids or labelled pixels are not those of",
    ),
    "ids without images": (
        lambda r: None,
        lambda rows: replace(
            rows,
            ids=(*rows.ids, *(f"more-{i}" for i in range(3600))),
            labels=np.pad(rows.labels, ((0, 0), (0, 3600))),
        ),
        "its ids or labelled pixels are not those of",
    ),
    "labels made easier": (
        lambda r: None,
        lambda rows: each_seed(rows, lambda own: replace(own, true=np.where(own.image < 50, 0, own.true))),
        "its ids or labelled pixels are not those of",
    ),
    "the mean of the best class alone": (
        lambda r: None,
        lambda rows: replace(rows, counted=(0,)),
        "its rows average over 1 of 21 classes, its preset over 21",
    ),
    "a cluster of two classes": (lambda r: None, paint_some_otherwise, "its rows paint one cluster with two classes"),
    "solvers with more hits than pixels": (
        lambda r: r.update(solver_gap=50.0),
        with_impossible_sums,
        "its solver_sums have more right pixels than there are pixels",
    ),
    "a distance between solvers": (
        lambda r: r.update(solver_gap=50.0),
        with_sums,
        "a distance between solvers of 50.0000, its rows give 0.0000",
    ),
    "classes renamed in one place": (
        lambda r: r["confusion"]["classes"].reverse(),
        None,
        "it names its classes otherwise in per_class than in confusion",
    ),
    "images of another built-in data set": (
        setting("dataset", id="pascal-voc"),
        None,
        "it is of pascal-voc, and its images are those of",
    ),
}


@pytest.mark.parametrize("what", PROBLEMS)
def test_what_no_true_record_says_is_found_whatever_lies_beside_it(tmp_path, what):
    change, rows, says = PROBLEMS[what]
    path = forge(place(sound_folder(tmp_path / "alone", (MINE,))), change, rows)
    assert says in found_at(path, tmp_path / "alone").problem
    path = forge(place(sound_folder(tmp_path / "all")), change, rows)
    assert says in found_at(path, tmp_path / "all").problem
    others = [one for one in audit(read_all(tmp_path / "all")[0]) if one.stored.path != path]
    assert [one.problem for one in others] == [None, None]


RELABELLED = {
    "under another id": (relabelled(SUP, weights_sha256="c" * 64), None),
    "under another id with its own hash": (relabelled(SUP), None),
    "with its rows in another order": (
        relabelled(SUP, weights_sha256="c" * 64),
        lambda rows: replace(
            each_seed(rows, lambda own: chosen(own, np.argsort(own.predicted, kind="stable"))),
            labels=np.zeros((5, 0), np.int32),
        ),
    ),
    "with fewer seeds": (
        then(
            relabelled(SUP, weights_sha256="c" * 64),
            setting("protocol", variations=["seeds1234x3"], modified=True),
        ),
        lambda rows: replace(rows, seeds=rows.seeds[:3], labels=rows.labels[:3]),
    ),
    "as of another data set": (
        then(
            relabelled(SUP, weights_sha256="c" * 64),
            setting("dataset", id="pascal-voc", manifest="d" * 64, official_images=400),
            lambda r: r.update(solver_gap=50.0),
        ),
        None,
    ),
    "under the other random network's id": (relabelled("random-resnet18", supervision="none"), None),
}


@pytest.mark.parametrize("what", RELABELLED)
def test_a_model_relabelled_is_found_beside_its_own_record_and_costs_that_nothing(tmp_path, what):
    change, rows = RELABELLED[what]

    def fewer(record):
        change(record)
        if rows is not None and record["protocol"]["variations"]:
            record["seeds"] = record["seeds"][:3]

    sound_folder(tmp_path, (OTHER,))
    if what == "with fewer seeds":
        path = forge_seeds(tmp_path, fewer)
    else:
        path = forge(place(tmp_path, OTHER), change, rows, to=place(tmp_path, "relabelled"))
    found = found_at(path, tmp_path)
    assert f"a record of {OTHER}" in found.problem and "to the pixel" in found.problem
    if what != "under the other random network's id":  # of two seeds' networks nobody can tell which is which
        assert found_at(place(tmp_path, OTHER), tmp_path).problem is None


def forge_seeds(results, change):
    path = forge(place(results, OTHER), lambda r: r.update(seeds=r["seeds"][:3]), to=place(results, "relabelled"))
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = rows_at(path)
    path.write_text(json.dumps(record), encoding="utf-8")
    return forge(path, change, lambda own: replace(rows, seeds=rows.seeds[:3], labels=rows.labels[:3]))


def test_the_random_network_under_a_trained_one_s_name_reproduces_nothing(tmp_path):
    """With invented images, hash and distance between solvers, and with nothing beside it."""
    sound_folder(tmp_path, (OTHER,))
    change, _ = RELABELLED["as of another data set"]
    for one in (change, then(change, setting("dataset", images=400, official_images=None))):
        path = forge(place(tmp_path, OTHER), one, to=tmp_path / "x" / "y" / "z.json")
        alone = [entry for entry in read_all(tmp_path)[0] if entry.path == path]
        outcomes = [found for found in against_published(figures(), alone, ()) if found.measured]
        assert outcomes and all(found.status != "reproduced" for found in outcomes)
        shown, _ = sound(alone)
        for entry in shown:
            assert any("is not that of pascal-voc (input is" in text for text in entry.doubts)
            assert any("run on 400 of 1449 images" in text for text in entry.doubts)


# --- what a record of another version could say as well: it is shown, and neither ranked nor compared ---

DOUBTS = {
    "another preset with its fingerprint": (
        with_preset(iterations=1),
        None,
        "its preset is not that of shapes (iterations is 1 instead of 100), and it says that nothing was modified",
    ),
    "another preset as the published one": (
        then(with_preset(iterations=1), setting("protocol", modified=True, published_recipe=True)),
        None,
        "its preset is not that of shapes (iterations is 1 instead of 100), and it says that it is the published one",
    ),
    "an entry that this version lacks": (
        with_preset(sharpness=3),
        None,
        "its preset is of another version: whether it is the data set's own cannot be told",
    ),
    "more clusters under the plain name": (
        with_preset(clusters=40),
        None,
        "it is of clustering, by its preset it would be of overclustering-40",
    ),
    "modified set to false": (
        setting("protocol", variations=["seeds1234x5"]),
        None,
        "it names variations (seeds1234x5), and says that nothing was modified",
    ),
    "other seeds and no mark": (
        lambda r: r.update(seeds=[7, 8, 9, 10, 11]),
        None,
        "its seeds are not those of its data set's preset, and it says that nothing was modified",
    ),
    "another precision and no mark": (
        setting("cost", precision="bfloat16"),
        None,
        "it was computed in bfloat16, and its variations do not name that",
    ),
    "limited set to false": (
        setting("dataset", limited=False, official_images=40, manifest="e" * 64),
        lambda rows: replace(
            each_seed(rows, lambda own: chosen(own, own.image < 40)), ids=rows.ids[:40], labels=rows.labels[:, :40]
        ),
        "run on 40 of 400 images: not the whole split, though it says so",
    ),
    "rows dropped, and images that nobody else has": (
        setting("dataset", manifest="e" * 64),
        without_the_worst,
        "its rows have no labelled pixel of 200 of its 400 images",
    ),
    "more images than there are": (
        setting("dataset", manifest="e" * 64, images=401),
        lambda rows: replace(rows, ids=(*rows.ids, "one more"), labels=np.pad(rows.labels, ((0, 0), (0, 1)))),
        "run on 401 images: shapes val has 400",
    ),
    "a part of the split that was clustered": (
        lambda r: r.update(fitted_on={"split": "train", "images": 100, "manifest": "f" * 64}),
        None,
        "its fitted_on has 100 of 2000 images, and it says that nothing was left out",
    ),
    "a split that is not there": (
        setting("dataset", split="secret", manifest="e" * 64),
        None,
        "shapes has no split secret by its card",
    ),
    "classes renamed": (
        lambda r: (
            r["confusion"]["classes"].__setitem__(1, "cat"),
            r.update(per_class={"cat" if k == "disc" else k: v for k, v in r["per_class"].items()}),
        ),
        None,
        "it calls class 1 'cat', shapes calls it 'disc'",
    ),
    "several clusters on a class": (
        lambda r: None,
        two_clusters_on_a_class,
        "its clusters have not the classes that its preset's matching would give them",
    ),
    "another model's rows under a name of one's own": (
        setting("model", id="my-net", weights_sha256="a" * 64, supervision="none"),
        None,
        "to the pixel, those of",
    ),
}


@pytest.mark.parametrize("what", DOUBTS)
def test_what_cannot_be_told_is_shown_and_neither_ranked_nor_compared(tmp_path, what):
    change, rows, says = DOUBTS[what]
    sound_folder(tmp_path)
    path = forge(place(tmp_path), change, rows, to=tmp_path / "x" / "y" / "z.json")
    (tmp_path / MINE).rename(tmp_path.with_name(f"{tmp_path.name}-away"))  # but the record that came with the program
    found = found_at(path, tmp_path)
    assert found.problem is None and any(says in text for text in found.stored.doubts), found
    (run,) = collect(figures(), [found.stored], tmp_path, []).runs
    assert says in run.context_of("mIoU")
    assert any(says in line and "in doubt, and so not ranked" in line for line in remarks([found.stored]))


def test_a_doubtful_record_speaks_for_no_figure_and_gives_way_to_an_honest_one(tmp_path):
    honest = keep(tmp_path / "a", make_record(value=40.0))
    record = make_record(value=44.2, created="2021-01-01")
    with_preset(iterations=1)(record)
    doubtful = keep(tmp_path / "b", record)
    (figure,) = [one for one in figures() if SUP in one.card and one.protocol == "clustering" and one.metric == "mIoU"]
    for stored in ([honest, doubtful], [doubtful, honest]):
        assert best_answer(figure, sound(stored)[0]).path == honest.path
    outcome = next(one for one in against_published(figures(), [doubtful], ()) if "44.20 measured" in one.detail)
    assert outcome.status == "not comparable" and "iterations is 1 instead of 100" in outcome.detail


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


def test_without_a_majority_both_of_two_that_differ_are_named_and_with_one_the_other(tmp_path):
    def kept(name, lost=0):
        rows = random_rows(len(name), images=60)
        rows = each_seed(rows, lambda own: chosen(own, own.image >= lost))
        record = make_record(model=name, seeds=2, per_class={}, dataset={"id": "own", "images": 60})
        record |= {"metrics": rows.metrics("zero", drawn=False), "cluster_to_class": []}
        return keep(tmp_path / name, record, rows)

    one, three, lost = kept("one"), kept("three"), kept("lost-in-part", lost=20)
    both = audit([one, lost])
    assert all("one of them was changed" in found.problem for found in both)
    most = audit([one, lost, three])
    assert [bool(found.problem) for found in most] == [False, True, False]
    assert "and 1 more" in most[1].problem


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
    assert outcome.status == "reproduced" and outcome.detail.endswith("; of weights without a published hash")


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


def limited(rows):
    """The first images, matched on these alone."""
    first = each_seed(rows, lambda own: chosen(own, own.image < 40))
    few = replace(first, ids=rows.ids[:40], labels=rows.labels[:, :40])
    found = []
    for number, own in enumerate(few.seeds):
        table = np.zeros((21, 21), np.int64)
        counted = table_of(few, number)
        table[: len(counted)] = counted
        classes = match(table)[predicted_ids(few, number)]
        found.append(replace(own, predicted=np.where(classes < 0, 21, classes).astype(np.int32)))
    return replace(few, seeds=tuple(found))


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
        then(setting("protocol", id="nearest-mean", preset={"metric": "cosine"}), with_preset()),
        None,
    ),
    "a variant of a protocol of another package": (
        setting("protocol", id="nearest-mean+crf", preset={"crf": True}, fingerprint="a" * 64),
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


# --- every command ---


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
