"""Parts of the web site: ranks and ties, the chart's geometry, commands that lead back to a record, class figures."""

import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.base.errors import BadInput
from bench.cards import catalogue
from bench.cards.catalogue import dataset
from bench.cards.models import DRAWN
from bench.cards.presets import override
from bench.cli.settings import parse_entries
from bench.protocols.clustering.preset import ClusteringPreset
from bench.records.published import figures
from bench.records.published_classes import class_figures, load
from bench.records.record import Stored
from bench.report.site import details
from bench.report.site.changes import changes_in_words
from bench.report.site.chart import draw
from bench.report.site.collect import collect
from bench.report.site.content import Labels
from bench.report.site.names import day
from bench.report.site.ranking import entries_of, ranked
from bench.report.site.render import prose
from bench.report.site.reproduce import reproduce
from tests.synthetic import make_record


def entries(tmp_path, *records, table=()):
    stored = [Stored(tmp_path / f"{n}" / "a.json", record) for n, record in enumerate(records)]
    return entries_of(collect(table, stored, tmp_path, []), "pascal-voc", "val")


def run(name, value, reach=1.0, **more):
    record = make_record(model=name, value=value, **more)
    record["metrics"]["mIoU"]["ci95"] = None if reach is None else [value - reach, value + reach]
    return record


def ranks(tmp_path, *records, table=()):
    return [(row.entry.model.title, row.rank) for row in ranked(entries(tmp_path, *records, table=table), "mIoU")]


def test_rows_within_the_interval_of_the_best_share_its_rank(tmp_path):
    rows = ranks(tmp_path, run("d", 40.0), run("a", 44.0), run("b", 43.5), run("c", 43.0), run("e", 39.5))
    assert rows == [("a", "1="), ("b", "1="), ("c", "1="), ("d", "4="), ("e", "4=")]


def test_a_row_says_that_training_images_overlap_by_its_record_or_the_card_of_its_figure(tmp_path):
    mine, other = run("mine", 40.0), run("other", 39.0)
    mine["model"]["overlaps"] = {"pascal-voc": "half of val"}
    other["model"]["overlaps"] = {"davis": "all of it"}
    said = {entry.model.title: entry.overlap for entry in entries(tmp_path, mine, other, table=[FIGURE])}
    assert (said["mine"], said["other"]) == ("half of val", "")
    assert said[FIGURE.model] == dataset_overlap("maskcontrast-sup")


def dataset_overlap(model, name="pascal-voc"):
    return catalogue.model(model).training.overlaps[name]


def test_a_tie_does_not_creep_down_the_table(tmp_path):
    rows = ranks(tmp_path, run("a", 44.0), run("b", 43.2), run("c", 42.4))
    assert rows == [("a", "1="), ("b", "1="), ("c", "3")]  # c is in b's interval, but not in a's


def test_the_wider_interval_of_the_lower_row_makes_a_tie_too(tmp_path):
    assert ranks(tmp_path, run("a", 44.0, 0.1), run("b", 43.0, 2.0)) == [("a", "1="), ("b", "1=")]
    assert ranks(tmp_path, run("a", 44.0, None), run("b", 43.0, None)) == [("a", "1"), ("b", "2")]


FIGURE = next(figure for figure in figures() if figure.value == 44.2)


def test_a_published_value_that_nobody_measured_ties_within_its_rounding_only(tmp_path):
    table = [
        replace(FIGURE, model=name, card=(), value=value) for name, value in (("a", 44.2), ("b", 44.2), ("c", 44.1))
    ]
    assert ranks(tmp_path, table=table) == [("a", "1="), ("b", "1="), ("c", "3")]


def test_a_reproduced_value_has_the_measured_interval_and_another_has_not(tmp_path):
    others = replace(FIGURE, model="other", card=(), value=43.5)
    measured = run("maskcontrast-sup", 44.2)
    assert [rank for _, rank in ranks(tmp_path, measured, table=[FIGURE, others])] == ["1=", "1="]
    astray = run("maskcontrast-sup", 42.0)  # below: its interval is that of another value
    assert [rank for _, rank in ranks(tmp_path, astray, table=[FIGURE, others])] == ["1", "2"]


def test_what_is_not_comparable_is_context_without_a_rank(tmp_path):
    elsewhere = replace(FIGURE, model="own protocol", card=(), comparable=False, note="its own protocol", value=60.0)
    limited = run("limited", 50.0, dataset={"limited": True, "images": 40})
    modified = run("modified", 49.0, protocol={"modified": True})
    rows = ranked(entries(tmp_path, limited, modified, run("a", 30.0), table=[elsewhere]), "mIoU")
    assert [(row.entry.model.title, row.rank) for row in rows] == [
        ("a", "1"), ("own protocol", ""), ("limited", ""), ("modified", ""),
    ]  # fmt: skip
    assert [row.entry.context for row in rows[1:]] == [
        "its own protocol",
        "run on 40 images: not the whole split",
        "modified: another preset or other seeds",
    ]  # fmt: skip
    assert [row.number for row in rows] == [0, 1, 2, 3]


def test_modified_runs_of_one_model_say_by_which_options_they_differ(tmp_path):
    seeds, halves = (run("one", 49.0, protocol={"modified": True}) for _ in range(2))
    seeds["seeds"] = list(range(1244, 1249))
    halves["protocol"]["preset"] = halves["protocol"]["preset"] | {"classes_from": "halves"}
    rows = entries(tmp_path, seeds, halves)
    assert {row.context for row in rows} == {
        "modified: run with --seed 1244",
        "modified: run with --set classes_from=halves",
    }


def test_what_a_card_of_the_reader_s_may_have_is_not_told_as_an_option_of_the_run(tmp_path):
    mine = run("one", 49.0, protocol={"modified": True}, dataset={"id": "mine"})
    mine["protocol"]["preset"] = mine["protocol"]["preset"] | {"clusters": 2}
    mine["seeds"] = mine["seeds"][:1]
    assert changes_in_words(mine) == "run with --num-seeds 1; by its card or --set clusters=2"
    (row,) = entries_of(
        collect((), [Stored(tmp_path / "a.json", mine)], tmp_path, []), "mine", mine["dataset"]["split"]
    )
    assert row.context == f"modified: {changes_in_words(mine)}"


BFLOAT16 = {"modified": True, "variations": ["bfloat16"]}


def test_another_precision_is_never_ranked_with_float32(tmp_path):
    fast, plain = run("fast", 50.0, protocol=BFLOAT16), run("plain", 40.0)
    hidden = run("hidden", 51.0)  # its cost says it, though its marks do not
    fast["cost"], plain["cost"], hidden["cost"] = ({"precision": p} for p in ("bfloat16", "float32", "bfloat16"))
    rows = ranked(entries(tmp_path, fast, plain, hidden), "mIoU")
    assert [(row.entry.model.title, row.rank) for row in rows] == [("plain", "1"), ("hidden", ""), ("fast", "")]
    assert {row.entry.context for row in rows[1:]} == {"the network computed in bfloat16, not in float32"}


def test_a_run_that_answers_to_a_figure_stands_in_its_row(tmp_path):
    (row,) = entries(tmp_path, run("maskcontrast-sup", 44.3), table=[FIGURE])
    assert (row.value, row.measured, row.published) == (44.2, 44.3, True)
    second = run("maskcontrast-sup", 41.0, protocol={"modified": True})
    rows = entries(tmp_path, run("maskcontrast-sup", 44.3), second, table=[FIGURE])
    assert sorted((row.published, row.measured) for row in rows) == [(False, 41.0), (True, 44.3)]


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("none", True),
        ("None ", True),
        (DRAWN.supervision, True),
        ("none claimed; but", False),
        ("not stated", False),
        ("ImageNet labels", False),
    ],
)
def test_fully_unsupervised_is_what_says_none_without_qualification(said, plain):
    assert Labels("DINO", "-", said).unsupervised is plain


@pytest.mark.parametrize(
    ("initialisation", "prior", "plain"),
    [
        ("DINO", "-", True),
        ("random", "saliency, unsupervised (BASNet)", True),
        ("self-supervised", "none", True),
        ("ImageNet supervised", "none", False),
        ("MoCo v2", "saliency, supervised (BASNet)", False),
        ("random", "labels of shapes train", False),
        ("-", "SAM masks", False),
        ("DINO, SwAV and MoCo v2", "masks from DINO", True),
        ("DINO, CLIP and MoCo v2", "-", False),
        ("weights that nobody listed", "-", False),
    ],
)
def test_an_initialisation_or_a_prior_from_labels_is_not_fully_unsupervised(initialisation, prior, plain):
    assert Labels(initialisation, prior, "none").unsupervised is plain


@pytest.mark.parametrize(
    ("protocol", "preset", "probe", "plain"),
    [
        ("clustering", {}, "none (labels only name clusters)", True),
        ("clustering-dense", {}, "none (labels only name clusters)", True),
        ("overclustering-500", {"clusters": 500}, "none (labels only name clusters)", True),
        ("clustering", {"matched_on": "train"}, "none (labels of train only name clusters)", True),
        ("linear", {"train": "trainaug"}, "a classifier trained on labels of trainaug", False),
        ("linear+crf", {"classifier": "released"}, "a classifier trained on labels", False),
        ("retrieval-7", {"bank": "train"}, "a bank of labelled images of train", False),
        ("distance-matching", {"bank": ["none"]}, "a bank of labelled images", False),
        ("davis", {}, "the masks of each evaluated sequence's first frame", False),
        ("predictions-clustering+iou", {}, "not known (predictions made elsewhere)", False),
        ("a-protocol-of-another-version", {}, "not stated", False),
    ],
)
def test_the_protocol_says_which_labels_its_probe_reads(tmp_path, protocol, preset, probe, plain):
    record = run("m", 40.0, protocol={"id": protocol, "preset": preset})
    record["model"] |= {"supervision": "none", "initialisation": "random", "prior": "none"}
    (entry,) = [one for one in entries(tmp_path, record) if one.metric == "mIoU"]
    assert (entry.probe, entry.unsupervised) == (probe, plain)


def test_published_rows_with_labels_in_any_part_are_not_fully_unsupervised(tmp_path):
    site = collect(figures(), [], tmp_path, [])
    places = {(claim.figure.dataset, claim.figure.split) for claim in site.claims}
    rows = [row for place in sorted(places) for row in entries_of(site, *place)]
    plain = {(row.model.title, row.protocol) for row in rows if row.unsupervised}
    assert ("TransFGU", "clustering") in plain
    assert not {("DINOv2", "linear"), ("Leopart", "clustering")} & plain
    reading = ("linear", "retrieval", "in-context", "knn", "distance-matching", "davis", "named", "finetune", "fcn")
    assert not {name for name, protocol in plain if protocol.startswith(reading)}
    labelled = ("PASS", "PiCIE", "ImageNet classifier", "STEGO", "SigLIP", "EVA-CLIP", "SAM", "K-means")
    assert not {(name, protocol) for name, protocol in plain if name in labelled}
    (neco,) = [row for row in rows if row.model.title == "NeCo on DINOv2" and row.value == 84.5]
    assert neco.labels.supervision == "none" and neco.probe == "a classifier trained on labels"
    assert {row.probe for row in rows if row.protocol == "linear" and row.claim.figure.comparable} == {
        "a classifier trained on labels of trainaug"
    }


def dated(tmp_path, *pairs, **more):
    records = [run(f"m{n}", value, created=f"{when}T00:00:00+00:00", **more) for n, (when, value) in enumerate(pairs)]
    return draw(ranked(entries(tmp_path, *records), "mIoU"), "mIoU")


def test_the_running_best_is_a_stair_through_each_new_best(tmp_path):
    chart = dated(tmp_path, ("2021-01-01", 30.0), ("2022-01-01", 20.0), ("2023-01-01", 40.0))
    at = {point.value: (point.x, point.y) for point in chart.points}
    (x1, y1), (x3, y3) = at[30.0], at[40.0]
    assert chart.best == ((x1, y1, x3, y1), (x3, y1, x3, y3), (x3, y3, 100.0, y3))
    assert {point.name for point in chart.points} == {"m0", "m2", ""}
    assert not chart.best_without


def test_the_running_best_leaves_out_models_that_saw_labels(tmp_path):
    table = [
        replace(FIGURE, model=name, card=(), value=value, supervision=said, init="MoCo v2", prior="-")
        for name, value, said in (("plain", 30.0, "none"), ("labelled", 50.0, "ImageNet labels"))
    ]
    chart = draw(ranked(entries(tmp_path, table=table), "mIoU"), "mIoU")
    at = {point.value: point for point in chart.points}
    assert chart.best_without and {piece[1] for piece in chart.best} == {at[30.0].y}
    assert (at[30.0].labelled, at[50.0].labelled) == (False, True)


def test_a_name_of_context_does_not_stand_on_another_point(tmp_path):
    def context(name, value, date):
        return replace(FIGURE, model=name, card=(), comparable=False, note="x", value=value, date=date)

    near = [context("a", 50.0, "2022-01"), context("b", 51.0, "2022-02"), context("c", 10.0, "2028-01")]
    far = [context("a", 50.0, "2022-01"), context("b", 51.0, "2024-02"), context("c", 10.0, "2028-01")]
    named = [
        sorted(
            point.name for point in draw(ranked(entries(tmp_path, table=table), "mIoU"), "mIoU").points if point.name
        )
        for table in (near, far)
    ]
    assert named == [["b"], ["a", "b"]]


def test_context_does_not_move_the_running_best(tmp_path):
    record = run("limited", 90.0, dataset={"limited": True}, created="2021-01-01")
    chart = draw(ranked(entries(tmp_path, record, run("a", 30.0, created="2022-01-01")), "mIoU"), "mIoU")
    (place,) = [point.y for point in chart.points if point.value == 30.0]
    assert {piece[1] for piece in chart.best} == {place}
    assert [point.hollow for point in chart.points] == [False, True]


def test_measured_and_published_are_points_of_their_own(tmp_path):
    chart = draw(ranked(entries(tmp_path, run("maskcontrast-sup", 44.3), table=[FIGURE]), "mIoU"), "mIoU")
    published, measured = chart.points
    assert (published.kind, measured.kind, published.row, measured.row) == ("published", "measured", 0, 0)
    assert measured.beside == published.y > measured.y
    assert measured.high < measured.y < measured.low  # y counts downwards
    # as the table prints them: one decimal where no more was published, two of what was measured
    assert ": 44.2 published" in published.what and ": 44.30 measured" in measured.what


def test_a_limited_run_beside_a_published_value_is_marked(tmp_path):
    record = run("maskcontrast-sup", 60.0, dataset={"limited": True, "images": 40})
    (row,) = ranked(entries(tmp_path, record, table=[FIGURE]), "mIoU")
    assert (row.rank, row.entry.value, row.entry.measured, row.entry.counts) == ("1", 44.2, 60.0, False)
    assert [(point.kind, point.hollow) for point in draw([row], "mIoU").points] == [
        ("published", False), ("measured", True),
    ]  # fmt: skip


def test_rows_without_a_date_have_no_point_and_are_counted(tmp_path):
    rows = ranked(entries(tmp_path, run("a", 30.0, created="soon"), run("b", 40.0, created="2022-02-30")), "mIoU")
    assert draw(rows, "mIoU") is None
    rows = ranked(entries(tmp_path, run("a", 30.0, created="soon"), run("b", 40.0)), "mIoU")
    assert draw(rows, "mIoU").undated == 1


@pytest.mark.slow
@given(st.lists(st.tuples(st.dates(), st.floats(-100, 100)), min_size=1, max_size=12))
def test_everything_is_drawn_inside_the_plot(tmp_path_factory, pairs):
    folder = tmp_path_factory.getbasetemp()
    records = [run(f"m{n}", value, 0.3, created=when.isoformat()) for n, (when, value) in enumerate(pairs)]
    chart = draw(ranked(entries(folder, *records), "mIoU"), "mIoU")
    places = [(p.x, y) for p in chart.points for y in (p.y, p.low, p.high)] + [(0, tick.at) for tick in chart.y_ticks]
    assert all(0 <= x <= 100 and -0.5 <= y <= 100.5 for x, y in places)
    assert 2 <= len(chart.y_ticks) <= 12 and len(chart.x_ticks) <= 20
    values = [float(tick.label) for tick in chart.y_ticks]
    assert values == sorted(values) and len(set(values)) == len(values)
    order = sorted(chart.points, key=lambda point: point.value)
    assert [point.y for point in order] == sorted((point.y for point in order), reverse=True)


def test_days_are_read_and_nothing_else():
    assert (day("2021-02").isoformat(), day("2021-02-11").isoformat()) == ("2021-02-01", "2021-02-11")
    assert [day(text) for text in ("", "2021", "2021-13", "2021-02-30", "2021-02-11x", "2021-02\n")] == [None] * 6


def options(command):
    words = shlex.split(command)
    pairs = {}
    for name, value in zip(words, [*words[1:], ""], strict=True):
        if name.startswith("--"):
            pairs.setdefault(name, []).append("" if value.startswith("--") else value)
    return words[:2], pairs


CHANGES = {
    "clusters": st.integers(2, 500),
    "input": st.sampled_from([[64, 64], [320, 480]]),
    "saliency_threshold": st.floats(-3, 3),
    "whiten": st.integers(0, 64),
    "solver": st.sampled_from(["faiss", "minibatch"]),
    "restarts": st.one_of(st.none(), st.integers(1, 40)),
    "batch": st.integers(10, 2000),
    "matching": st.sampled_from(["iou", "pixels", "images"]),
    "absent": st.sampled_from(["zero", "skip"]),
    "resizing": st.sampled_from(["opencv", "torch"]),
}


@given(st.fixed_dictionaries({}, optional=CHANGES))
def test_the_command_leads_back_to_the_recipe(changes):
    default = dataset("pascal-voc").protocols.preset("clustering")
    resolved = override(default, changes).resolved()
    record = make_record(model="random-resnet18", protocol={"preset": resolved})
    start, pairs = options(reproduce(record))
    assert start == ["bench", "run"] and pairs["--model"] == ["random-resnet18"]
    entries = parse_entries(None, None, tuple(pairs.get("--set", ())))
    assert override(default, entries).resolved() == resolved


def test_a_card_s_own_entry_that_was_taken_back_is_in_the_command():
    card = dataset("imagenet-s-50")
    resolved = override(card.protocols.preset("clustering"), {"fit": None, "matched_on": None}).resolved()
    record = make_record(dataset={"id": card.id}, protocol={"preset": resolved})
    assert options(reproduce(record))[1]["--set"] == ["fit=null", "matched_on=null"]


def test_the_command_of_an_unmodified_run_is_short():
    assert reproduce(make_record()) == (
        "bench run --model maskcontrast-sup --dataset pascal-voc --split val --protocol clustering --data-root DATA"
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("timm:test_vit@a?random=0", ["timm:test_vit@a?random=0"]),
        ("mine.pth in timm:test_vit", ["timm:test_vit", "--weights", "WEIGHTS"]),
        ("python:evil:build", ["MODEL"]),
        ("timm:x; rm -rf ~", ["MODEL"]),
        ("in memory", ["MODEL"]),
    ],
)
def test_a_librarys_network_is_named_unless_its_name_could_run_code(source, words):
    record = make_record()
    record["model"] |= {
        "id": "mine",
        "network": {"source": source.partition(":")[0].rpartition(" ")[2]},
        "weights_source": source,
    }
    if source == "in memory":
        record["model"]["network"] = {"class": "a.Module"}
    own = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    record["protocol"]["preset"] |= {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    record["protocol"]["by_model"] = own
    said = shlex.split(reproduce(record))
    assert said[3 : 3 + len(words)] == words and said[3 + len(words)] == "--dataset"
    assert not any(word.startswith(("mean=", "std=")) for word in said)


@pytest.mark.parametrize(("images", "said"), [(40, ["whiten=32"]), (65, None)])
def test_the_command_of_few_images_names_the_components(images, said):
    """By itself a run of 40 images takes 19."""
    preset = dataset("pascal-voc").protocols.preset("clustering").resolved()
    record = make_record(dataset={"limited": True, "images": images}, protocol={"preset": preset})
    assert options(reproduce(record))[1].get("--set") == said


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("linear+crf", "--protocol linear --crf"),
        ("overclustering-500", "--protocol clustering --clusters 500"),
        ("clustering-unlabelled", "--protocol clustering --"),
    ],
)
def test_a_protocol_s_name_becomes_its_flags(protocol, said):
    assert said in reproduce(make_record(protocol={"id": protocol, "preset": {}})) + " --"


def test_the_command_names_seeds_limits_precision_and_files():
    record = make_record(model="mine", seeds=3, dataset={"limited": True, "images": 40})
    record["model"]["weights_source"] = "/home/me/my model.pth"
    record["seeds"] = [7, 8, 9]
    record["protocol"]["variations"] = ["seeds7x3", "bfloat16"]
    pairs = options(reproduce(record))[1]
    assert (pairs["--seed"], pairs["--num-seeds"], pairs["--limit"], pairs["--precision"]) == (
        ["7"], ["3"], ["40"], ["bfloat16"],
    )  # fmt: skip
    assert pairs["--model"] == ["./my model.pth"]


def test_a_data_set_of_one_s_own_is_named_by_its_card_and_the_recipe_is_told():
    resolved = override(ClusteringPreset(), {"clusters": 5, "input": [224, 224]}).resolved()
    record = make_record(dataset={"id": "photos"}, protocol={"id": "clustering-unlabelled", "preset": resolved})
    pairs = options(reproduce(record))[1]
    assert (pairs["--dataset"], pairs["--protocol"]) == (["CARD"], ["clustering"])
    assert override(ClusteringPreset(), parse_entries(None, None, tuple(pairs["--set"]))).resolved() == resolved


def test_predictions_are_scored_again():
    record = make_record(model="mine", protocol={"id": "predictions+iou"}) | {"observed": {"predictions": "out; rm"}}
    start, pairs = options(reproduce(record))
    assert start == ["bench", "score"] and shlex.split(reproduce(record))[2] == "./out; rm"
    assert (pairs["--match"], pairs["--name"]) == (["iou"], ["mine"])


def test_published_class_figures_name_classes_of_their_data_set():
    names = dataset("pascal-voc").classes
    for protocol, mean in (("clustering", 43.92), ("linear", 63.95)):
        own = [figure for figure in class_figures() if figure.protocol == protocol]
        assert [figure.class_ for figure in own] == list(names)
        assert sum(figure.value for figure in own) / len(names) == pytest.approx(mean, abs=0.005)


HEAD = "dataset,split,protocol,card,class,value,note,source\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n", "the columns are"),
        (HEAD + "d,s,p,c,cat,50,,x,more\n", ":2: wrong number of columns"),
        (HEAD + "d,s,p,c,cat,50\n", ":2: wrong number of columns"),
        (HEAD + "d,s,p,c,,50,,x\n", ":2: class is empty"),
        (HEAD + "d,s,p,c,cat,nan,,x\n", "value is 'nan'"),
        (HEAD + "d,s,p,c,cat,101,,x\n", "value is '101'"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_damaged_table_of_classes_is_an_error_that_names_the_line(tmp_path, text, problem):
    path = tmp_path / "classes.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=problem.replace("(", r"\(")):
        load(path)


def test_all_strips_of_a_page_have_one_scale(tmp_path):
    near, far = run("mine", 40.0, 0.3), run("mine", 60.0, 3.1)
    for record, spread in ((near, 0.2), (far, 1.5)):
        value = record["metrics"]["mIoU"]["value"]
        record["metrics"]["mIoU"]["per_seed"] = [value - spread, value, value, value, value + spread]
    runs = collect([], [Stored(tmp_path / f"{n}.json", one) for n, one in enumerate((near, far))], tmp_path, []).runs
    scale = details.scale_of(runs)
    assert scale.reach == 4.0  # the widest interval has room, up to a round number
    assert [label for _, label in scale.ticks] == ["−4", "−2", "0", "+2", "+4"]
    (narrow,), (wide,) = (details.spreads(one, scale) for one in runs)
    places = [[at for _, _, at in one.seeds] for one in (narrow, wide)]
    assert places[0][2] == places[1][2] == 50.0
    assert places[1][-1] - 50 == pytest.approx(7.5 * (places[0][-1] - 50))
    assert all(0 <= at <= 100 for one in places for at in one)


def test_a_strip_of_one_seed_without_an_interval_has_a_scale_too(tmp_path):
    (one,) = collect([], [Stored(tmp_path / "a.json", run("mine", 40.0, None, seeds=1))], tmp_path, []).runs
    assert details.scale_of([one]).reach == 1.0
    assert [at for _, _, at in details.spreads(one, details.scale_of([one]))[0].seeds] == [50.0]


def test_a_card_s_text_becomes_paragraphs_with_code_and_short_hashes():
    commit = "b42a7ca548b322954675258ccf5e61bfbf19f78f"
    parts, hashes = prose(f"At {commit}: `bench <b>`.\n\nThen\n{commit} & more.")
    assert hashes == [commit]
    assert parts == [
        "At <code>b42a7ca548b3…</code>: <code>bench &lt;b&gt;</code>.",
        "Then <code>b42a7ca548b3…</code> &amp; more.",
    ]
    assert prose(f"`--sha {commit}`") == (["<code>--sha b42a7ca548b3…</code>"], [commit])
