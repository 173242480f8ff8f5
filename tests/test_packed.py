"""Packed sequences and columns behave as lists of the same elements; shards keep them whole."""

import hashlib
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.base.files import load_npz, save_npz
from bench.base.packed_arrays import Keys, Names, Ragged
from bench.base.sample_columns import Columns
from bench.cards import catalogue
from bench.data.samples import Files, file_key, open_split
from bench.passes.cache import DamagedShard, ShardStore
from bench.passes.image_pass import _in_order, _missing
from bench.passes.observations import MASK, NO_BANDS, Observation, observation_store, stacked

texts = st.lists(st.text(max_size=8), max_size=12)
keys = st.lists(st.binary(min_size=4, max_size=4), max_size=12, unique=True)
tables = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=8)
places = st.integers(-14, 14) | st.none()
quick = settings(max_examples=60, deadline=None)


@given(texts, places, places, st.sampled_from([None, 1, 2, -1]))
@quick
def test_names_are_the_list_that_they_were_made_of(names, start, stop, step):
    packed = Names.of(iter(names))
    assert list(packed) == names and packed == names and len(packed) == len(names)
    assert packed[start:stop:step] == names[start:stop:step]
    for index in (*range(-len(names), len(names)), *np.arange(len(names))):
        assert packed[index] == names[index]
    for index in (len(names), -len(names) - 1):
        with pytest.raises(IndexError):
            packed[index]
    assert packed != [*names, "more"] and packed != "text"


def test_a_file_name_that_is_no_text_is_kept():
    odd = os.fsdecode(b"caf\xe9")
    assert Names.of([odd])[0] == odd


@given(keys)
@quick
def test_keys_are_the_list_that_they_were_made_of(found):
    packed = Keys.of(found)
    assert packed == found and b"".join(packed) == b"".join(found) and packed[1:] == found[1:]


def ragged(lists):
    return [np.array(one, np.int64).reshape(-1, 1) for one in lists]


@given(tables, st.data())
@quick
def test_ragged_arrays_are_taken_filtered_and_joined_like_lists(lists, data):
    packed = Ragged.of(ragged(lists))
    where = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=10))
    taken = packed.take(np.array(where, np.int64))
    assert [one.reshape(-1).tolist() for one in taken] == [lists[i] for i in where]
    small = packed.where(packed.flat[:, 0] < 5)
    assert [one.reshape(-1).tolist() for one in small] == [[v for v in one if v < 5] for one in lists]
    both = Ragged.joined([packed, taken, small])
    assert [one.tolist() for one in both] == [one.tolist() for part in (packed, taken, small) for one in part]


@given(st.lists(st.booleans(), min_size=1, max_size=30))
@quick
def test_what_was_known_and_what_was_made_come_out_in_order(known):
    keys = [bytes([i]) for i in range(len(known))]
    items = {key: {"number": np.array([i])} for i, key in enumerate(keys)}
    held = Columns.of_items({key: items[key] for key, there in zip(keys, known, strict=True) if there})
    todo = list(_missing(keys, held.keys))
    assert todo == [i for i, there in enumerate(known) if not there]
    made = Columns.of_items({keys[i]: items[keys[i]] for i in todo})
    found = _in_order(held, made, todo)
    assert found.keys == keys and found["number"].flat.tolist() == list(range(len(known)))


def observation(classes, area=1):
    counts = np.ones((len(classes), 4), np.int32)
    return Observation(
        np.ones(2, np.float32), area, 0, (4, 4), np.array(classes, np.uint16), counts, bytes(16), np.zeros(2, np.uint8)
    )


@pytest.mark.parametrize("first", [[], [3]])
def test_an_image_without_labels_may_be_the_first_of_a_shard_or_a_shard_of_its_own(tmp_path, monkeypatch, first):
    monkeypatch.setattr("bench.passes.cache.SHARD", 2)
    store, keys = ShardStore(tmp_path, MASK), [bytes([i] * 16) for i in range(5)]
    seen = [observation(first), observation([1, 2]), observation([]), observation([]), observation([0])]
    made = store.fill(keys, range(5), [one.item() for one in seen], None)
    for columns in (made, store.known(keys)):
        found = stacked(list("abcde"), columns, {})
        assert np.diff(found.offsets).tolist() == [len(first), 2, 0, 0, 1]
        assert found.bands.shape == NO_BANDS.shape and len(found.counts) == len(first) + 3


def test_every_shard_is_written_once_when_nothing_interrupts(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.passes.cache.SHARD", 3)
    written, keys = [], [bytes([i] * 16) for i in range(8)]
    save = ShardStore.save
    monkeypatch.setattr(
        ShardStore, "save", lambda self, shard, fresh: (written.append(shard), save(self, shard, fresh))
    )
    store = ShardStore(tmp_path, MASK)
    store.fill(keys, range(8), [observation([i]).item() for i in range(8)], None)
    assert written == [0, 1, 2]
    assert store.known(keys)["classes"].flat.tolist() == list(range(8))


@pytest.mark.parametrize("harm", ["keys", "ends", "short", "kind"])
def test_a_shard_whose_parts_do_not_fit_counts_as_absent(tmp_path, harm):
    store, keys = ShardStore(tmp_path, MASK), [bytes([i] * 16) for i in range(3)]
    store.fill(keys, range(3), [observation([i]).item() for i in range(3)], None)
    path = tmp_path / "00000.npz"
    arrays = load_npz(path)
    arrays |= {
        "keys": {"keys": arrays["keys"].reshape(-1)},
        "ends": {"classes.ends": arrays["classes.ends"][::-1].copy()},
        "short": {"classes": arrays["classes"][:-1]},
        "kind": {"classes.ends": arrays["classes.ends"].astype(np.float64)},
    }[harm]
    save_npz(path, arrays)
    assert len(store.known(keys)) == 0
    store.fill(keys, range(3), [observation([i]).item() for i in range(3)], None)
    assert len(store.known(keys)) == 3


def test_a_sample_s_key_is_of_where_its_files_really_lie(tmp_path):
    """Caches of earlier versions stay valid: the key has always been this hash."""

    def plainly(name, paths):
        digest = hashlib.sha256(name.encode())
        for path in paths:
            status = path.stat()
            digest.update(f"|{path.resolve()}|{status.st_size}|{status.st_mtime_ns}".encode())
        return digest.digest()[:16]

    real, linked = tmp_path / "real", tmp_path / "linked"
    real.mkdir()
    linked.symlink_to(real)
    (real / "a.jpg").write_bytes(b"a")
    (real / "b.jpg").symlink_to(real / "a.jpg")
    (real / "c.jpg").symlink_to(real / "nowhere.jpg")
    files = [real / "a.jpg", real / "b.jpg", linked / "a.jpg", linked / "../real/b.jpg"]
    for path in files:
        assert file_key("x", [path]) == plainly("x", [path])
    assert file_key("x", files) == plainly("x", files)
    assert file_key("x", [files[0], real / "c.jpg"]) == b""


def test_samples_are_made_when_asked_for_and_sliced_as_files(golden):
    samples = open_split(catalogue.dataset("pascal-voc"), "val", golden / "VOCSegmentation")
    listed = (golden / "VOCSegmentation/sets/val.txt").read_text().split()
    assert samples.ids == listed and [sample.id for sample in samples] == listed
    assert all(sample.image.name == f"{sample.id}.jpg" and sample.label.is_file() for sample in samples)
    part = samples.entries[3:7]
    assert isinstance(part, Files) and list(part) == list(samples)[3:7] and samples.first(2).ids == listed[:2]
    assert samples.images == len(listed) and samples.count([1, 2]) == 2


def filled(folder, count=5):
    keys = [bytes([i] * 16) for i in range(count)]
    store = observation_store(folder, {})
    store.fill(keys, range(count), [observation([i]).item() for i in range(count)], None)
    return store, keys


def damaged(path):
    """A hole of zeros in the first array's bytes, behind which the file is as it was."""
    data = path.read_bytes()
    start = data.index(b"NUMPY") if b"NUMPY" in data else 60
    path.write_bytes(data[:start] + bytes(20) + data[start + 20 :])


def test_a_damaged_file_of_either_kind_is_dropped_with_a_line_and_made_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("bench.passes.cache.SHARD", 2)
    for number, name in enumerate(("00001.npz", "00001.mask.npz")):
        store, keys = filled(tmp_path)
        damaged(store.folder / name)
        if name == "00001.npz":
            assert list(store.known(keys).keys) == [keys[0], keys[1], keys[4]]
        else:
            with pytest.raises(DamagedShard) as caught:
                list(store.iterate_apart(keys))
            assert caught.value.exit_code == 4 and "again" in caught.value.remedy
            assert list(store.known(keys).keys) == [keys[0], keys[1], keys[4]]
        assert not (store.folder / name).exists() and len(caplog.records) == number + 1
        store.fill(keys, [2, 3], [observation([i]).item() for i in (2, 3)], None)
        assert len(store.known(keys)) == 5 and len(list(store.iterate_apart(keys))) == 5


def test_everything_that_is_damaged_is_dropped_at_the_first_that_is_found(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("bench.passes.cache.SHARD", 1)
    store, keys = filled(tmp_path)
    for number in (1, 3):
        damaged(store.folder / f"0000{number}.mask.npz")
    with pytest.raises(DamagedShard):
        list(store.iterate_apart(keys))
    assert len(caplog.records) == 2 and list(store.known(keys).keys) == [keys[0], keys[2], keys[4]]


def test_samples_whose_other_half_is_missing_are_not_known(tmp_path):
    """As where the older of the two files outlived a power loss."""
    store, keys = filled(tmp_path, 2)
    older = (store.folder / "00000.mask.npz").read_bytes()
    more = [*keys, bytes([9] * 16)]
    store.fill(more, [2], [observation([9]).item()], None)
    (store.folder / "00000.mask.npz").write_bytes(older)
    assert list(store.known(more).keys) == keys


def test_shards_that_changed_places_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.passes.cache.SHARD", 2)
    store, keys = filled(tmp_path / "a")
    other = ShardStore(tmp_path / "b" / "store", MASK, store.columns)
    other.fill(keys, range(5), [observation([i, 7]).item() for i in range(5)], None)
    for name in ("00000.npz", "00000.mask.npz"):
        (store.folder / name).write_bytes((other.folder / name).read_bytes())
    assert list(store.known(keys).keys) == keys[2:]


@pytest.mark.parametrize("harm", ["lacks", "dtype", "shape", "rows", "unlike"])
def test_a_shard_without_a_seal_is_held_to_the_form_of_its_columns(tmp_path, harm, caplog):
    store, keys = filled(tmp_path, 3)
    path = store.folder / "00000.npz"
    arrays = load_npz(path)
    del arrays["seal"]
    if harm == "lacks":
        del arrays["digest"], arrays["digest.ends"]
    elif harm == "dtype":
        arrays["area"] = arrays["area"].astype(np.float64)
    elif harm == "shape":
        arrays["size"] = arrays["size"][:, :1]
    elif harm == "rows":
        arrays["size"], arrays["size.ends"] = arrays["size"][:2], np.array([1, 2, 2])
    else:
        arrays["counts.ends"] = np.array([0, 0, 3])
    save_npz(path, arrays)
    assert len(store.known(keys)) == 0 and len(caplog.records) == 1


def test_a_cache_of_an_earlier_version_is_used(tmp_path):
    store, keys = filled(tmp_path, 3)
    for path in store.folder.glob("*.npz"):
        arrays = load_npz(path)
        del arrays["seal"]
        save_npz(path, arrays)
    assert len(store.known(keys)) == 3 and len(list(store.iterate_apart(keys))) == 3
