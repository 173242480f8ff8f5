"""Label propagation against the plain way, and the figures that J and F of every object and frame come to."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.base.errors import BadInput
from bench.protocols.davis import propagation
from bench.protocols.davis.preset import DavisPreset
from bench.protocols.davis.propagation import Propagation, paint, shares
from bench.protocols.davis.tracker import input_size
from bench.scoring.davis_figures import METRICS, entries, intervals, object_table, statistics
from bench.scoring.frame_rows import FrameRows

# --- propagation ---


def plain_step(context, features, preset):
    """One frame, cell by cell: every cell of the context in reach is compared, sorted, the best ones weighted."""
    height, width = features.shape[-2:]
    unit = F.normalize(features.double(), dim=0)
    result = torch.zeros(context[0][1].shape, dtype=torch.float64)
    reach = preset.neighbourhood
    for y in range(height):
        for x in range(width):
            found = []
            for keys, labels in context:
                near = F.normalize(keys.double(), dim=0)
                for v in range(max(0, y - reach), min(height, y + reach + 1)):
                    for u in range(max(0, x - reach), min(width, x + reach + 1)):
                        found.append((float(unit[:, y, x] @ near[:, v, u]), labels[:, v, u].double()))
            best = sorted(found, key=lambda pair: -pair[0])[: preset.top_k]
            weights = torch.tensor([similar for similar, _ in best], dtype=torch.float64) / preset.temperature
            result[:, y, x] = sum(w * label for w, (_, label) in zip(weights.softmax(0), best, strict=True))
    return result


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 6)),
    top_k=st.integers(1, 12),
    reach=st.integers(1, 7),
    context=st.integers(0, 3),
    cells=st.sampled_from([1, 1 << 22]),
)
def test_propagation_is_what_the_plain_way_gives(seed, shape, top_k, reach, context, cells):
    generator = torch.Generator().manual_seed(seed)
    preset = DavisPreset(top_k=top_k, neighbourhood=reach, context=context, temperature=0.1)
    frames = [torch.randn(4, *shape, generator=generator) for _ in range(4)]
    first = torch.rand(3, *shape, generator=generator).softmax(dim=0)
    fast, remembered = Propagation(frames[0], first, preset), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(propagation, "_CELLS", cells)
        for features in frames[1:]:
            expected = plain_step([(frames[0], first), *remembered], features, preset)
            labels = fast.step(features)
            torch.testing.assert_close(labels.double(), expected, atol=1e-4, rtol=0)
            torch.testing.assert_close(labels.sum(dim=0), torch.ones(shape))
            remembered = [*remembered, (features, labels)][-context:] if context else []


def test_labels_follow_features_that_move():
    preset = DavisPreset(top_k=1, neighbourhood=2)
    features = torch.randn(16, 8, 10, generator=torch.Generator().manual_seed(0))
    first = shares(torch.randint(0, 3, (8, 10), generator=torch.Generator().manual_seed(1)), 2, (8, 10))
    context = Propagation(features, first, preset)
    for step in range(1, 4):
        moved = context.step(features.roll((step, step), (1, 2)))
        inside = (slice(None), slice(step, None), slice(step, None))
        assert torch.equal(moved[inside], first.roll((step, step), (1, 2))[inside])


def test_nothing_older_than_the_context_is_kept():
    context = Propagation(torch.randn(4, 3, 3), torch.rand(2, 3, 3), DavisPreset(context=2))
    for _ in range(5):
        context.step(torch.randn(4, 3, 3))
    assert len(context.recent) == 2
    context = Propagation(torch.randn(4, 3, 3), torch.rand(2, 3, 3), DavisPreset(context=0))
    context.step(torch.randn(4, 3, 3))
    assert not context.recent


def test_shares_and_paint_undo_each_other_on_whole_cells():
    ids = torch.zeros(32, 48, dtype=torch.uint8)
    ids[8:24, 16:32] = 2
    labels = shares(ids, 2, (4, 6))
    assert labels.shape == (3, 4, 6) and labels[2].sum() == 4 and torch.all(labels.sum(dim=0) == 1)
    for stretch in (True, False):
        assert torch.equal(paint(shares(ids, 2, (32, 48)), (32, 48), stretch=stretch), ids)


def test_an_object_thinned_out_by_averaging_is_kept_only_if_its_share_is_stretched():
    share = torch.zeros(4, 6)
    share[1:3, 2:4] = 0.4  # nowhere the largest
    labels = torch.stack([1 - share, share, torch.zeros(4, 6)])  # a third id occurs nowhere
    kept = paint(labels, (4, 6), stretch=True)
    assert torch.equal(kept, (share > 0).to(torch.uint8))
    assert not paint(labels, (4, 6), stretch=False).any()
    assert not paint(torch.full((2, 4, 6), 0.5), (4, 6), stretch=True).any()  # nothing to stretch


@pytest.mark.parametrize(
    "size, expected", [((480, 854), (480, 856)), ((480, 910), (480, 912)), ((854, 480), (480, 272))]
)
def test_inputs_keep_the_frames_proportions_in_multiples_of_eight(size, expected):
    assert input_size(size, 480, 8) == expected


def test_a_patch_takes_the_place_of_eight():
    assert input_size((480, 854), 476, 14) == (476, 840) and input_size((480, 854), 480, 16) == (480, 848)


# --- figures ---


def rows_of(*lengths, objects=(1, 2), seed=0):
    """Rows of a sequence per length, with random values."""
    rng = np.random.default_rng(seed)
    ids, columns = [], []
    for number, length in enumerate(lengths):
        count = objects[number % len(objects)]
        columns += [(k + 1, len(ids) + 1 + t) for k in range(count) for t in range(length)]
        ids += [f"s{number}/{i:05d}" for i in range(length + 2)]
    number, index = (np.array(column, np.int32) for column in zip(*columns, strict=True))
    return FrameRows(tuple(ids), index, number, *rng.random((2, len(index))))


def test_figures_are_means_over_objects_of_their_statistics():
    rows = rows_of(9, 14, 5)
    figures = entries(rows)
    objects = [(statistics(j), statistics(f)) for _, _, j, f in rows.objects()]
    assert len(objects) == 4
    for name, part in (("mean", "J_mean"), ("recall", "J_recall"), ("decay", "J_decay")):
        expected = 100 * np.mean([getattr(j, name) for j, _ in objects])
        assert figures["metrics"][part]["value"] == pytest.approx(expected)
    both = (figures["metrics"]["J_mean"]["value"] + figures["metrics"]["F_mean"]["value"]) / 2
    assert figures["metrics"]["JF_mean"]["value"] == pytest.approx(both)
    assert list(figures["metrics"]) == list(METRICS)
    assert {n: (e["frames"], e["objects"]) for n, e in figures["per_sequence"].items()} == {
        "s0": (11, 1), "s1": (16, 2), "s2": (7, 1),
    }  # fmt: skip


def test_two_halves_weighed_by_their_objects_are_the_whole():
    whole = entries(rows_of(9, 14, 5, 8))
    sequences = whole["per_sequence"].values()
    for name in METRICS:
        mean = np.average([e[name] for e in sequences], weights=[e["objects"] for e in sequences])
        assert whole["metrics"][name]["value"] == pytest.approx(mean)


def test_decay_of_a_sequence_too_long_for_it_is_left_out_not_half_averaged():
    figures = entries(rows_of(9, 257))
    assert not {"J_decay", "F_decay"} & set(figures["metrics"])
    assert set(METRICS) - set(figures["metrics"]) == {"J_decay", "F_decay"}
    assert "J_decay" in figures["per_sequence"]["s0"] and "J_decay" not in figures["per_sequence"]["s1"]
    assert "ci95" in figures["metrics"]["J_mean"]
    json.dumps(figures, allow_nan=False)


def test_one_sequence_has_no_interval():
    assert "ci95" not in entries(rows_of(9))["metrics"]["J_mean"]


def test_intervals_draw_whole_sequences():
    table = np.array([[0.0] * 7, [100.0] * 7, [100.0] * 7, [100.0] * 7])
    low, high = intervals(table, np.array([0, 1, 1, 1]))["J_mean"]
    assert (low, high) == (0.0, 100.0)
    same = intervals(np.full((4, 7), 30.0), np.array([0, 1, 1, 2]))
    assert all(bounds == pytest.approx((30.0, 30.0)) for bounds in same.values())
    assert set(same) == set(METRICS)


def test_rows_survive_their_file_and_a_damaged_one_is_named(tmp_path):
    rows = rows_of(4, 6)
    rows.write(tmp_path / "a.npz")
    again = FrameRows.read(tmp_path / "a.npz")
    assert again.ids == rows.ids and again.sequences == ("s0", "s1")
    for name in ("frame", "object", "similarity", "accuracy"):
        assert np.array_equal(getattr(again, name), getattr(rows, name))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(BadInput, match=r"b\.npz is missing or damaged"):
        FrameRows.read(tmp_path / "b.npz")


def test_statistics_become_percentages():
    table = object_table([(np.array([0.5, 1.0]), np.array([1.0, 1.0]))])
    assert table[0].tolist() == [75.0, 50.0, -50.0, 100.0, 100.0, 0.0, 87.5]
