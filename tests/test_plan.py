"""What is settled before the work begins: the engine, the seeds, and what is said of the data."""

import pytest

from bench.base.errors import WrongName
from bench.cards.catalogue import dataset
from bench.cards.datasets import Split
from bench.protocols.base import Settings
from bench.runs.plan import engine_for, make_plan

DENSE = "clustering-dense"
"""A protocol that does not hang on how few images there are."""


@pytest.fixture
def plan(golden, small_file, tmp_path):
    """Of clustering on the generated data in PASCAL VOC's layout: 40 of its 1449 images."""

    def call(said, protocol="clustering", **options):
        options = {"data_root": golden / "VOCSegmentation", "cache": tmp_path} | options
        return make_plan(small_file, "pascal-voc", protocol, Settings(**options), said.append)

    return call


def test_the_engine_takes_the_settings_over_its_own_choice():
    def engine(batch_size=None, **options):
        return engine_for(Settings(device="cpu", **options), print, batch_size)

    assert engine().batch_size == 4
    assert engine(batch_size=3).batch_size == 3
    own = engine(workers=0, precision="bfloat16", progress=lambda *_: None)
    assert (own.workers, own.precision) == (0, "bfloat16")
    assert own.progress is not None and own.warn is print


def test_fewer_images_than_the_card_counts_are_said_once_unless_asked_for(plan):
    said = []
    assert plan(said, DENSE).samples.limited
    assert len(said) == 1 and "holds 40 of the 1449 val images" in said[0]
    said.clear()
    assert len(plan(said, DENSE, limit=20).samples) == 20 and not said


@pytest.mark.parametrize("official, words", [(10, ["lists 40 val images, the card says 10"]), (40, []), (None, [])])
def test_more_images_than_the_card_counts_are_said(plan, monkeypatch, official, words):
    monkeypatch.setitem(dataset("pascal-voc").splits, "val", Split(images=official))
    said = []
    plan(said, DENSE)
    assert len(said) == len(words) and all(one in said[0] for one in words)


def test_seeds_count_up_from_the_first_and_mark_the_record(plan):
    assert plan([], DENSE).seeds == (1234, 1235, 1236, 1237, 1238) and not plan([], DENSE).variations
    assert not plan([], DENSE).modified and plan([], DENSE).published_recipe
    other = plan([], DENSE, first_seed=2**31 - 3, num_seeds=3)
    assert other.seeds == (2**31 - 3, 2**31 - 2, 2**31 - 1)
    assert other.variations == (f"seeds{2**31 - 3}x3",) and other.modified
    assert plan([], DENSE, precision="bfloat16").variations == ("bfloat16",)
    for first in (-1, 2**31 - 2):
        with pytest.raises(WrongName, match="out of range"):
            plan([], first_seed=first, num_seeds=3)


def test_another_entry_makes_a_modified_preset(plan):
    other = plan([], entries={"restarts": "2"})
    assert other.modified and not other.published_recipe and other.fingerprint != plan([]).fingerprint


def test_overclustering_is_compared_with_the_preset_of_that_name(plan):
    more, plain = plan([], entries={"clusters": "30", "whiten": "32"}), plan([])
    assert (more.protocol, more.base, more.modified) == ("overclustering-30", "clustering", False)
    assert (plain.protocol, plain.base) == ("clustering", "clustering")


# --- few images ---


def test_few_images_are_whitened_to_fewer_components_which_is_said(plan):
    said = []
    few, own = plan(said), plan([], entries={"whiten": "32"})
    assert (few.preset.whiten, few.modified, few.published_recipe) == (19, True, False)
    assert [one for one in said if "whiten" in one] == [
        "whitening to 19 components, not 32: with more these 40 images would lie almost equally far from each other; "
        "the record is marked as modified"
    ]
    assert few.fingerprint != own.fingerprint
    assert few.fingerprint == plan([], entries={"whiten": "19"}).fingerprint  # as it is repeated


@pytest.mark.parametrize("images, components", [(39, 19), (24, 11), (21, 10), (20, 9)])
def test_what_is_left_of_the_list_decides(plan, images, components):
    assert plan([], limit=images).preset.whiten == components


def test_the_user_s_own_number_of_components_stays(plan):
    said = []
    assert plan(said, entries={"whiten": "32"}).preset.whiten == 32
    assert any("40 images whitened to 32 components lie almost equally far" in one for one in said)
    said.clear()
    for components in (0, 8, 19):
        assert plan(said, entries={"whiten": components}).preset.whiten == components
    assert not any("whiten" in one for one in said)


def test_a_card_s_own_number_that_fits_its_images_is_its_preset(golden, small_file, tmp_path):
    text = dataset("pascal-voc").path.read_text()
    (tmp_path / "mine.toml").write_text(text.replace('"pascal-voc"', '"mine"').replace("whiten = 32", "whiten = 19"))
    settings = Settings(data_root=golden / "VOCSegmentation", cache=tmp_path)
    found = make_plan(small_file, str(tmp_path / "mine.toml"), "clustering", settings, lambda message: None)
    assert found.preset.whiten == 19 and not found.modified and found.published_recipe
