"""What a benchmark's page makes of its rows: groups counted alike, filters, the answer, protocols in plain words."""

from dataclasses import replace

import pytest

from bench.cards.explained import explanation
from bench.protocols import registry
from bench.records.published import figures
from bench.report.site.answer import answer
from bench.report.site.collect import collect
from bench.report.site.dodge import HEIGHT, WIDTH, spread
from bench.report.site.facets import facets, labels_seen
from bench.report.site.groups import groups, reasons
from bench.report.site.ranking import entries_of, ranked
from tests.test_site import build, page

PLAIN = replace(
    next(one for one in figures() if one.protocol == "clustering" and one.dataset == "pascal-voc" and one.comparable),
    card=(),
    init="-",
    prior="none",
    supervision="none",
    note="",
)


def rows(tmp_path, *table):
    site = collect(table, [], tmp_path, [])
    return ranked(entries_of(site, "pascal-voc", "val"), "mIoU")


def figure(model, value, **more):
    return replace(PLAIN, model=model, value=value, **more)


def test_figures_with_other_entries_are_ranked_among_themselves(tmp_path):
    eighth = {"shots": 0.125}
    found = rows(
        tmp_path,
        figure("a", 40.0),
        figure("b", 50.0, entries=eighth),
        figure("c", 30.0),
        figure("d", 20.0, entries=eighth),
        figure("e", 60.0, comparable=False, note="fitted on train"),
    )
    told = [
        (one.entries, one.context, [(row.entry.model.title, row.rank) for row in one.rows]) for one in groups(found)
    ]
    assert told == [
        ((), False, [("a", "1"), ("c", "2")]),
        (("shots=0.125",), False, [("b", "1"), ("d", "2")]),
        ((), True, [("e", "")]),
    ]
    assert [row.number for one in groups(found) for row in one.rows] == list(range(5))
    assert reasons(found) == {"fitted on train": 1}


def test_the_answer_is_the_best_without_labels_and_a_higher_one_that_was_counted_otherwise(tmp_path):
    table = [
        figure("supervised", 70.0, supervision="ImageNet labels"),
        figure("mine", 40.0),
        figure("other", 30.0),
        figure("elsewhere", 50.0, comparable=False, note="another protocol"),
        figure("worse elsewhere", 45.0, comparable=False, note="another protocol"),
    ]
    found = answer(rows(tmp_path, *table), "mIoU")
    assert found.fully and found.best.entry.model.title == "mine"
    assert found.otherwise.entry.model.title == "elsewhere"
    assert answer(rows(tmp_path, *table[:3]), "mIoU").otherwise is None
    assert answer(rows(tmp_path, table[0]), "mIoU") is None
    with_entries = answer(rows(tmp_path, table[1], figure("more", 60.0, entries={"clusters": 30})), "mIoU")
    assert (with_entries.best.entry.model.title, with_entries.otherwise.entry.model.title) == ("mine", "more")


@pytest.mark.parametrize(
    "protocol, supervision, seen",
    [
        ("clustering", "none", "none"),
        ("clustering", "ImageNet labels", "training"),
        ("clustering", "none claimed; its masks start from labels", "unclear"),
        ("clustering", "not stated", "unclear"),
        ("linear", "none", "probe"),
        ("in-context", "none (labels of the training split fill the memory)", "probe"),
        ("in-context", "captions", "training"),
    ],
)
def test_labels_are_told_by_their_part(tmp_path, protocol, supervision, seen):
    (row,) = rows(tmp_path, figure("m", 40.0, protocol=protocol, supervision=supervision))
    assert labels_seen(row.entry) == seen


def test_a_page_is_filtered_by_what_occurs_on_it(tmp_path):
    table = [
        figure("a", 40.0, backbone="ViT-S/16", detail=("CRF", "mirror images")),
        figure("b", 41.0, backbone="ViT-B/8", second_hand=True),
        figure("c", 42.0, backbone="ViT-S/16", detail=("CRF",)),
    ]
    found = {one.name: [(value, count) for value, _, count in one.options] for one in facets(rows(tmp_path, *table))}
    assert found["backbone"] == [("ViT-B/8", 1), ("ViT-S/16", 2)]
    assert found["detail"] == [("CRF", 2), ("mirror images", 1), ("second-hand", 1)]
    assert found["labels"] == [("none", 3)]


def test_points_of_one_date_are_spread_within_a_month_and_others_stay():
    places = [(50.0, float(y)) for y in range(20, 40)] + [(10.0, 20.0), (80.0, 90.0)]
    found = spread(places, 3.0)
    assert found[-2:] == [10.0, 80.0]
    assert all(abs(x - 50) <= 1.5 for x in found[:-2])
    drawn = list(zip(found, (y for _, y in places), strict=True))
    for n, (x, y) in enumerate(drawn):
        assert all(abs(x - a) >= 0.99 * WIDTH or abs(y - b) >= HEIGHT for a, b in drawn[:n])
    assert found == spread(places, 3.0)


def test_every_protocol_is_told_in_plain_words():
    for entry in registry.BUILT_IN:
        told = explanation(entry.id)
        assert told and len(told.parts) == 4 and told.surprises, entry.id
        assert 300 < sum(map(len, (*(text for _, text in told.parts), *told.surprises))) < 3000, entry.id


def test_a_protocol_of_another_package_needs_no_words(tmp_path, monkeypatch):
    own = replace(registry.BUILT_IN[0], id="mine", title="as it comes", variants=())
    monkeypatch.setattr(registry, "protocols", lambda: {one.id: one for one in (*registry.BUILT_IN, own)})
    site = build(tmp_path)
    assert explanation("mine") is None
    tree = page(site, "protocols/mine.html")
    assert "as it comes" in tree.one("main").text and not tree.all("h2", id="surprises")
    assert page(site, "protocols.html").one("main").text.count("as it comes") == 1


def test_a_damaged_text_is_left_out_with_a_warning(monkeypatch, tmp_path):
    package = tmp_path / "damaged_room"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "explained.toml").write_text("[mine]\nfitted = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = replace(registry.BUILT_IN[0], id="mine", preset="damaged_room.preset:Preset")
    monkeypatch.setattr(registry, "protocols", lambda: {"mine": own})
    explanation.cache_clear()
    with pytest.warns(UserWarning, match=r"explained\.toml of the protocol 'mine' was left out"):
        assert explanation("mine") is None
    explanation.cache_clear()


@pytest.mark.parametrize("name", ["clustering", "in-context"])
def test_bench_show_and_the_site_tell_a_protocol_alike(bench, tmp_path, name):
    shown = " ".join(bench("show", name).stdout.split())
    site = page(build(tmp_path), f"protocols/{name}.html").one("main").text
    told = explanation(name)
    for text in (*(text for _, text in told.parts), *told.surprises):
        assert " ".join(text.split()) in shown
        assert " ".join(text.replace("`", "").split())[:60] in " ".join(site.split()) or "`" in text
