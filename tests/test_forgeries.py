"""Whatever can be found out about a record without running anything is found: what keeps it from being shown, or
ranked."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bench.cards.presets import fingerprint
from bench.records.audit import audit, remarks, sound
from bench.records.published import figures
from bench.records.record import read_all
from bench.report.check import against_published, against_records
from bench.report.site.collect import collect
from bench.report.tables import best_answer
from tests.forging import (
    MINE,
    OTHER,
    SUP,
    chosen,
    drop_a_seed_s_rows,
    each_seed,
    forge,
    found_at,
    inflate_the_best,
    metric,
    paint_some_otherwise,
    place,
    relabelled,
    rows_at,
    setting,
    sound_folder,
    then,
    two_clusters_on_a_class,
    with_impossible_sums,
    with_preset,
    with_sums,
    without_the_worst,
)
from tests.synthetic import keep, make_record

# --- what no true record says: it is left out of everything, and fails a check ---

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
    "a matching that the model decided": (
        setting("protocol", by_model={"matching": "pixels"}),
        None,
        "it says that the model decided entries of the preset that no model decides",
    ),
    "nothing drawn": (setting("protocol", deterministic=True), None, "nothing was drawn at random, and names seeds"),
    "no seeds": (
        then(lambda r: r.update(seeds=[]), setting("protocol", deterministic=True)),
        None,
        "it names no seeds, and its protocol draws at random",
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
    "the authors' solver as the data set's own": (
        then(lambda r: r["protocol"]["preset"].update(solver="minibatch", restarts=3, batch=1000), with_preset()),
        None,
        "its preset is not that of shapes (solver is minibatch instead of faiss), and it says that nothing",
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


def test_an_edited_record_fails_a_check_and_displaces_no_honest_one(tmp_path):
    honest = keep(tmp_path / "a", make_record(value=44.4))
    edited = keep(tmp_path / "b", make_record(value=44.2, created="2021-01-01"))
    edited.record["metrics"]["mIoU"]["value"] = 99.0
    for stored in ([honest, edited], [edited, honest]):
        found = [one for one in against_published(figures(), stored, ()) if one.measured]
        assert [(one.status, one.fails) for one in found] == [("damaged", True), ("reproduced", False)]
        earlier = [keep(tmp_path / "old", make_record(value=44.3))]
        found = against_records(earlier, stored, ())
        assert [(one.status, one.fails) for one in found] == [("damaged", True), ("reproduced", False)]
        assert "44.40 now" in found[1].detail
