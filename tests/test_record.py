"""Records: their names, what is never lost, and what is no record."""

import json

import cv2
import numpy as np
import pytest

from bench.base.environment import environment, image_resizing
from bench.base.errors import BadInput
from bench.base.files import atomic_write, sha256_file, write_with
from bench.cards import catalogue
from bench.protocols.clustering.preset import ClusteringPreset
from bench.protocols.clustering.scoring import score
from bench.records.record import check_rows, confusion_table, dumps, file_name, read, read_all, write
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.rows import Context
from tests.synthetic import keep, make_record, observe_counts, random_rows

ONE, TWO = "1" * 64, "2" * 64


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "dataset, protocol, name",
    [
        ({}, {}, "clustering.json"),
        ({}, {"modified": True}, "clustering@11111111.json"),
        ({"limited": True, "images": 40}, {}, "clustering@11111111-limit40.json"),
        ({"limited": True, "images": 40}, {"modified": True}, "clustering@11111111-limit40.json"),
        ({}, {"modified": True, "variations": ["seeds7x3"]}, "clustering@11111111-seeds7x3.json"),
        ({}, {"id": "overclustering-50"}, "overclustering-50.json"),
    ],
    ids=["full", "modified", "limited", "both", "other seeds", "overclustering"],
)
def test_the_file_name_says_what_was_run(dataset, protocol, name):
    assert file_name(make_record(fingerprint=ONE, dataset=dataset, protocol=protocol)) == name


def test_a_record_lies_by_model_data_set_and_split(tmp_path):
    stored = keep(tmp_path, make_record())
    assert stored.path == tmp_path / "maskcontrast-sup" / "pascal-voc-val" / "clustering.json"
    assert files_in(tmp_path) == ["clustering.json", "clustering.rows.npz"]


def test_rows_lie_beside_the_record_and_fit_its_hash(tmp_path):
    rows = random_rows(5, images=4)
    stored = keep(tmp_path, make_record(), rows)
    beside = stored.path.parent / stored.record["rows"]["file"]
    assert stored.record["rows"]["sha256"] == sha256_file(beside)
    assert check_rows(stored) is None
    np.testing.assert_array_equal(ConfusionRows.read(beside).confusion(1), rows.confusion(1))


def test_what_was_written_is_read_back(tmp_path):
    record = make_record()
    stored = keep(tmp_path, record, random_rows(0, images=4))
    assert stored.record == record  # write adds the rows' entry to the caller's too
    assert stored.record["metrics"]["mIoU"]["value"] == 44.2


def test_the_same_recipe_replaces_its_record(tmp_path):
    keep(tmp_path, make_record(value=40.0))
    stored = keep(tmp_path, make_record(value=41.0))
    assert stored.record["metrics"]["mIoU"]["value"] == 41.0
    assert files_in(tmp_path) == ["clustering.json", "clustering.rows.npz"]


def test_another_recipe_never_replaces_a_record(tmp_path):
    first = keep(tmp_path, make_record(fingerprint=ONE))
    before = first.path.read_bytes()
    second = keep(tmp_path, make_record(fingerprint=TWO))
    assert second.path.name == "clustering@22222222.json"
    assert first.path.read_bytes() == before
    assert check_rows(first) is None
    assert check_rows(second) is None


def test_recipes_whose_fingerprints_begin_alike_do_not_replace_each_other(tmp_path):
    modified = {"modified": True}
    first = keep(tmp_path, make_record(fingerprint="a" * 8 + ONE[8:], protocol=modified))
    second = keep(tmp_path, make_record(fingerprint="a" * 8 + TWO[8:], protocol=modified))
    assert first.path != second.path
    assert read(first.path)["protocol"]["fingerprint"].endswith("1")


def test_a_record_of_another_schema_is_not_replaced(tmp_path):
    first = keep(tmp_path, make_record(fingerprint=ONE))
    first.path.write_text(json.dumps(first.record | {"schema": 99}), encoding="utf-8")
    before = first.path.read_bytes()
    second = keep(tmp_path, make_record(fingerprint=TWO))
    assert second.path != first.path
    assert first.path.read_bytes() == before


def test_rows_are_written_before_the_record(tmp_path):
    record = make_record(value=float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        write(record, random_rows(0, 3), tmp_path)
    assert files_in(tmp_path) == ["clustering.rows.npz"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "x.json"
    path.write_text("old", encoding="utf-8")

    def writer(stream):
        stream.write(b"half")
        raise error

    with pytest.raises(error):
        write_with(path, writer)
    assert files_in(tmp_path) == ["x.json"]
    assert path.read_text(encoding="utf-8") == "old"


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "deep" / "x.json"
    with atomic_write(path) as stream:
        stream.write(b"half")
        stream.flush()
        assert not path.exists()
    assert path.read_bytes() == b"half"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_never_written(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        dumps({"a": [value]})


def test_text_in_any_script_is_written_as_it_is():
    assert "Kühe – 牛" in dumps({"a": "Kühe – 牛"})


def changed(**entries):
    return lambda record: record | entries


def inner(part, key, value):
    return lambda record: record | {part: record[part] | {key: value}}


def without(part, key):
    return lambda record: record | {part: {k: v for k, v in record[part].items() if k != key}}


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda record: [record], "not a JSON object"),
        (lambda record: {"name": "somebody else's"}, "schema None"),
        (changed(schema=0), "schema 0 is older"),
        (changed(schema=2), "schema 2 is of a later version"),
        (changed(schema=True), "schema True instead of 1"),
        (changed(model=None), "'model'"),
        (without("model", "id"), "'model.id' is missing"),
        (without("dataset", "manifest"), "'dataset.manifest' is missing"),
        (without("protocol", "fingerprint"), "'protocol.fingerprint' is missing"),
        (inner("dataset", "split", "../../x"), "'dataset.split': string should match pattern"),
        (inner("dataset", "split", "val\n"), "'dataset.split'"),
        (inner("dataset", "split", ""), "'dataset.split'"),
        (inner("protocol", "id", "a/../../b"), "'protocol.id': string should match pattern"),
        (inner("protocol", "id", "<script>"), "'protocol.id'"),
        (changed(metrics={}), "'metrics'"),
        (changed(metrics={"mIoU": 35.0}), "'metrics.mIoU' has the wrong type"),
        (changed(metrics={"mIoU": {"value": None}}), "metrics.mIoU.value"),
        (changed(metrics={"mIoU": {"value": "35"}}), "metrics.mIoU.value"),
        (changed(metrics={"mIoU": {"value": True}}), "metrics.mIoU.value"),
    ],
)
def test_what_is_no_record_is_bad_input_that_says_why(tmp_path, change, says):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(change(make_record())), encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read(path)
    assert str(path) in caught.value.problem
    assert says in caught.value.problem


@pytest.mark.parametrize(
    "change",
    [
        inner("model", "id", ["a", "list"]),
        inner("model", "supervision", None),
        inner("dataset", "images", "1449 | many"),
        inner("protocol", "fingerprint", 7),
        inner("protocol", "preset", "the usual"),
        changed(seeds=5),
        changed(metrics={"mIoU": {"value": 35.0}}),
        changed(metrics={"mIoU": {"value": 35.0, "std": "small", "per_seed": [35.0]}}),
        changed(metrics={"mIoU": {"value": 35.0, "per_seed": ["35"]}}),
        changed(metrics={"mIoU": {"value": 35.0, "per_seed": [35.0], "ci95": [34.0]}}),
        changed(per_class=[1, 2]),
    ],
    ids=[
        "model.id", "supervision", "images", "fingerprint", "preset", "seeds", "no per_seed", "std", "per_seed",
        "ci95", "per_class",
    ],
)  # fmt: skip
def test_an_entry_of_the_wrong_type_is_bad_input_and_no_later_crash(tmp_path, change):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(change(make_record())), encoding="utf-8")
    with pytest.raises(BadInput, match="not a record"):
        read(path)


@pytest.mark.parametrize("text", ["", "{", "\x00", '{"schema": 1'])
def test_a_damaged_file_is_bad_input(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match="is damaged"):
        read(path)


def test_bytes_that_are_no_text_are_bad_input(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="is damaged"):
        read(tmp_path / "x.json")


@pytest.mark.parametrize("key", ["value", "std", "ci95"])
def test_a_nan_anywhere_is_bad_input(tmp_path, key):
    record = make_record()
    record["metrics"]["mIoU"][key] = [float("nan"), 1.0] if key == "ci95" else float("nan")
    path = tmp_path / "x.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(BadInput):
        read(path)


def test_reading_all_skips_and_reports_what_is_no_record(tmp_path):
    good = keep(tmp_path, make_record())
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "foreign.json").write_text("{}", encoding="utf-8")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "notes.txt").write_text("no record, and no JSON", encoding="utf-8")
    found, problems = read_all(tmp_path)
    assert found == [good]
    assert len(problems) == 3
    for name in ("broken", "foreign", "folder"):
        assert sum(f"{name}.json" in problem for problem in problems) == 1


def test_an_empty_or_missing_folder_has_no_records(tmp_path):
    assert read_all(tmp_path) == ([], [])
    assert read_all(tmp_path / "none") == ([], [])


def test_rows_that_are_missing_or_changed_are_told(tmp_path):
    stored = keep(tmp_path, make_record())
    rows = stored.path.with_name("clustering.rows.npz")
    rows.write_bytes(rows.read_bytes() + b"x")
    assert "does not fit" in check_rows(stored)
    rows.unlink()
    assert "is missing" in check_rows(stored)


def test_metrics_have_mean_deviation_values_and_interval():
    generator = np.random.default_rng(0)
    inside, outside = generator.integers(0, 50, (2, 12, 4))
    observations = observe_counts(inside, outside, generator.normal(size=(12, 3)))
    recipe = ClusteringPreset(clusters=3, whiten=0, restarts=1)
    scored = score(observations, recipe.resolved(), (1, 2, 3), 4)
    several = scored.rows.metrics("zero", scored.extra)["mIoU"]
    assert several["value"] == pytest.approx(np.mean(several["per_seed"]))
    assert several["std"] == pytest.approx(np.std(several["per_seed"], ddof=1))
    assert several["ci95"][0] <= several["ci95"][1]
    scored = score(observations, recipe.resolved(), (1,), 4)
    single = scored.rows.metrics("zero", scored.extra)
    assert single["mIoU"]["std"] is None
    assert len(single["nmi"]["per_seed"]) == len(single["ari"]["per_seed"]) == 1


def test_per_class_iou_averages_seeds_and_has_none_for_an_absent_class():
    observations = observe_counts(np.array([[0, 9, 0], [0, 9, 0]]), np.array([[9, 0, 0]] * 2), np.eye(2))
    recipe = ClusteringPreset(clusters=2, whiten=0, restarts=1).resolved()
    values = score(observations, recipe, (1, 2), 3).rows.per_class(["background", "cat", "nowhere"])
    assert values["background"] == 100
    assert values["cat"] == 50
    assert values["nowhere"] == 0  # a cluster was matched to it, so it occurs as a prediction
    with_absent = random_rows(0, 3, classes=2).per_class(["a", "b"])
    assert all(0 < value < 100 for value in with_absent.values())


@pytest.mark.parametrize("classes", [100, 101])
def test_a_large_confusion_matrix_is_left_to_the_rows_file(tmp_path, classes):
    card = catalogue.dataset("pascal-voc").model_copy(update={"classes": tuple(f"c{i}" for i in range(classes))})
    rows = random_rows(0, 2, classes)
    entry = rows.entries(Context(classes=card.classes))["confusion"]
    assert entry["classes"] == list(card.classes)
    assert (entry["mean"] is None) == (classes > 100)
    stored = keep(tmp_path, make_record() | {"confusion": entry}, rows)
    expected = np.mean([rows.confusion(0), rows.confusion(1)], axis=0)
    np.testing.assert_allclose(confusion_table(stored), expected, atol=1e-3)
    (tmp_path / stored.path.parent / stored.record["rows"]["file"]).unlink()
    if classes > 100:
        with pytest.raises(BadInput, match=r"rows\.npz is missing"):
            confusion_table(stored)
    assert confusion_table(keep(tmp_path / "other", make_record())) is None


def test_the_environment_says_which_way_images_are_resized():
    used, found = cv2.ipp.useIPP(), image_resizing()
    cv2.ipp.setUseIPP(False)
    try:
        without, of_loaders = image_resizing(), environment()["image_resizing"]
    finally:
        cv2.ipp.setUseIPP(used)
    assert found == image_resizing() == of_loaders  # whose threads are others
    assert found["version"] == without["version"] == cv2.__version__
    assert bool(found["ipp"]) == used and without["ipp"] is None
    assert found["instructions"] and without["instructions"]
    assert (found["bits"] != without["bits"]) == used
