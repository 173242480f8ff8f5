"""`bench reproduce`: from nothing to a paper's table, against a server of 127.0.0.1."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from bench.base.errors import WrongName
from bench.cards import catalogue
from bench.cards.local_files import weights_file
from bench.download.part_files import Part
from bench.records import record
from bench.records.published import figures
from bench.reproduce.answers import Answer
from bench.reproduce.papers import Layout, Paper, paper, papers
from bench.reproduce.plan import Row, Wanted, rows_of
from bench.reproduce.table import as_markdown, as_text
from tests.conftest import GOLDEN, ROOT, once
from tests.reproducing import DATA, MODELS, SIZES, substitute, write_files
from tests.webserver import File, answer

UNSUP, SUP, UNSUP_LINEAR, SUP_LINEAR = (f"{name}.pth.tar" for name in MODELS)
LINEAR = ("--protocol", "linear")
"""Two rows of two models, the quickest."""
FEW = (*LINEAR, "--limit", "3")


@pytest.fixture(scope="session")
def released(common):
    """The files of the paper in small, each under its name."""
    return once(common / "released", lambda path: write_files(path, GOLDEN))


@pytest.fixture
def cache(tmp_path):
    """Another for each test, in place of the shared one."""
    return tmp_path / "cache"


@pytest.fixture
def served(web, released, monkeypatch):
    """The server with all files, and the cards that name it."""
    web.table |= {f"/{path.name}": File(path.read_bytes()) for path in released.iterdir()}
    substitute(web.base, monkeypatch.setitem)
    return web


@pytest.fixture
def reproduce(bench, served, tmp_path):
    """`bench reproduce maskcontrast --yes --json`: the exit code, the outcomes by row, and stderr."""

    def call(*arguments):
        done = bench("reproduce", "maskcontrast", "--yes", "--json", "--results", tmp_path / "results", *arguments)
        return done.returncode, {row["row"]: row for row in json.loads(done.stdout)["rows"]}, done.stderr

    return call


@pytest.fixture
def signals():
    """Handlers that a command leaves behind after a signal go."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def fetched(web):
    """What was asked for, by name."""
    return [path[1:] for method, path, _ in web.requests if method == "GET"]


# --- papers and listings ---


def test_every_published_figure_is_a_row_of_one_paper():
    assert sum(len(one.figures) for one in papers().values()) == len(figures())
    assert {"maskcontrast", "leopart", "pass", "neco", "capi", "dip", "stego"} <= set(papers())
    assert all(one.layout.columns.keys() <= {f.protocol for f in one.figures} for one in papers().values())
    assert all(one.layout.models.keys() <= {f.model for f in one.figures} for one in papers().values())


def test_papers_are_listed_and_an_unknown_one_gets_the_nearest(bench):
    shown = bench("reproduce")
    assert shown.returncode == 0 and "maskcontrast " in shown.stdout and "2102.06191" in shown.stdout
    listed = {one["paper"]: one for one in json.loads(bench("list", "papers", "--json").stdout)}
    assert listed["maskcontrast"]["can run"] == "8" and listed["leopart"]["can run"] == "0"
    done = bench("reproduce", "maskcontrst")
    assert done.returncode == 2 and "Did you mean maskcontrast" in done.stderr
    assert bench("reproduce", "--yes").returncode == 2
    assert bench("reproduce", "maskcontrast", "--out", "t.md").returncode == 2


@pytest.mark.parametrize("number", ["2204.13101", "2204.13101v2", "arXiv:2204.13101"])
def test_a_paper_is_found_by_its_arxiv_number(number):
    assert paper(number).id == "leopart"
    with pytest.raises(WrongName, match=r"no published figure of arXiv 2204\.99999"):
        paper("2204.99999v1")


def test_filters_choose_rows_and_refuse_unknown_names():
    chosen = paper("maskcontrast")
    (row,) = rows_of(chosen, Wanted(models=["maskcontrast-unsup"], protocols=["linear"]))
    assert row.job.model == "maskcontrast-unsup"  # trains a classifier, where the released one is the default
    (row,) = rows_of(chosen, Wanted(rows=[row.number]))
    assert row.job.model == "maskcontrast-unsup-linear"
    for wanted, word in (
        (Wanted(rows=[99]), "has no row 99"),
        (Wanted(models=["maskcontrast-un"]), "unknown model of maskcontrast"),
        (Wanted(datasets=["davis"]), "unknown data set of"),
        (Wanted(models=["maskcontrast-sup"], protocols=["retrieval-7"]), "no row of maskcontrast"),
    ):
        with pytest.raises(Exception, match=word):
            rows_of(chosen, wanted)


def test_a_paper_without_checkpoints_says_why_nothing_runs(bench):
    listed = bench("reproduce", "leopart")
    assert listed.returncode == 0 and "0 can be run" in listed.stdout and "CANNOT BE RUN" in listed.stdout
    done = bench("reproduce", "leopart", "--yes")
    assert done.returncode == 3 and "no row of leopart can be run here" in done.stderr


@pytest.mark.slow
def test_the_listing_names_rows_files_licences_room_and_time_and_fetches_nothing(bench, served, cache):
    done = bench("reproduce", "maskcontrast")
    assert done.returncode == 0 and not fetched(served)
    words = (UNSUP, SUP_LINEAR, DATA, "CC BY-NC 4.0", "missing", "to fetch:", "are free at", "time: about", "shared")
    for word in (*words, "weights not released", "23 rows, 8 can be run", "reproduce maskcontrast --yes`"):
        assert word in done.stdout, word
    told = json.loads(bench("reproduce", "maskcontrast", *LINEAR, "--json", "--offline").stdout)
    assert [row["row"] for row in told["rows"] if row["cannot_run"] is None] == [2, 4]
    assert {file["name"]: file["rows"] for file in told["files"]} == {DATA: [2, 4], UNSUP_LINEAR: [2], SUP_LINEAR: [4]}
    assert all(row["seconds"] > 0 for row in told["rows"] if row["card"])
    assert "timing" in done.stderr and "timing" not in bench("reproduce", "maskcontrast").stderr
    kept = sorted((cache / "timings").iterdir())
    kept[0].write_bytes(kept[0].read_bytes()[:-9])
    again = bench("reproduce", "maskcontrast", "--json")
    assert again.returncode == 0 and "is damaged" in again.stderr and "timing" in again.stderr
    assert sorted((cache / "timings").iterdir()) == kept and json.loads(kept[0].read_bytes())["seconds"] > 0


@pytest.mark.slow
def test_data_that_only_the_user_can_bring_are_an_obstacle_until_they_are_brought(bench, served, monkeypatch, tmp_path):
    card = catalogue.dataset("pascal-voc")
    monkeypatch.setitem(catalogue.datasets(), card.id, card.model_copy(update={"downloads": ()}))
    done = bench("reproduce", "maskcontrast", *LINEAR)
    assert "0 can be run" in done.stdout and "give its folder with --data-root" in " ".join(done.stdout.split())
    (tmp_path / "voc").mkdir()
    assert "2 can be run" in bench("reproduce", "maskcontrast", *LINEAR, "--data-root", tmp_path / "voc").stdout


# --- the table ---


@pytest.fixture
def small_paper():
    """Two models, three protocols, and answers to all but one."""
    base = next(figure for figure in figures() if figure.card)
    cells = {
        ("A", "linear"): 61.25,
        ("A", "clustering"): 35.0,
        ("B", "clustering"): 4.0,
        ("A long name | x", "linear"): 1,
    }
    mine = [replace(base, model=m, protocol=p, value=v, backbone="ViT-S/16") for (m, p), v in cells.items()]
    layout = Layout(arxiv="1", columns={"clustering": "K-means", "linear": "LC"}, models={"B": "Baseline"})
    answers = [
        Answer(Row(1, mine[0], None), "reproduced", "", 61.3, 0.123),
        Answer(Row(2, mine[1], None), "below", "difference -2.00", 33.0),
        Answer(Row(3, mine[2], None), "failed", "no | file"),
        Answer(Row(4, mine[3], None), "not run", "no | file"),
    ]
    return Paper("p", "A paper", "1", tuple(mine), layout), answers


def test_the_text_has_the_papers_rows_and_columns_in_order_and_folds(small_paper):
    wide, narrow = (as_text(*small_paper, width).splitlines() for width in (80, 44))
    (head,) = (line for line in wide if "K-means" in line)
    assert head.index("K-means") < head.index("LC")
    block = wide[wide.index(next(line for line in wide if line.startswith("A, ViT-S/16"))) :]
    assert block[0].split()[-2:] == ["35.0", "61.25"] and block[1].split() == ["33.00", "61.30", "±", "0.12"]
    assert "below [1]" in block[2] and "reproduced" in block[2]
    assert any(line.startswith("Baseline, ViT-S/16") for line in wide)
    assert "[2] no | file" in wide and sum("[2]" in line for line in wide) == 3
    assert all(len(line) <= 44 for line in narrow) and sum(line.strip() in ("K-means", "LC") for line in narrow) == 2


def test_the_markdown_table_cannot_be_broken_by_a_name(small_paper):
    lines = as_markdown(*small_paper).splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[0] == "| model | K-means | LC |" and len(rows) == 5
    assert "35.0<br>33.00<br>below" in rows[2] and "61.2<br>" not in rows[2] and "61.25<br>61.30 ± 0.12" in rows[2]
    assert all(line.replace("\\|", "").count("|") == 4 for line in rows)


# --- from nothing to the table ---


@pytest.mark.slow
def test_from_nothing_to_the_table_and_nothing_is_done_twice(bench, reproduce, served, tmp_path, monkeypatch):
    chosen = ("--protocol", "retrieval-7", "--protocol", "retrieval-21", "--protocol", "clustering", *LINEAR)
    code, rows, _ = reproduce(*chosen)
    assert code == 1 and sorted(fetched(served)) == sorted([DATA, UNSUP, SUP, UNSUP_LINEAR, SUP_LINEAR])
    ran = {number: row for number, row in rows.items() if row["card"]}
    assert set(ran) == {1, 2, 3, 4, 14, 17}
    assert all(row["measured"] is not None for row in ran.values()), [row["reason"] for row in ran.values()]
    assert all(rows[number]["status"] in ("below", "above") for number in (2, 4, 14, 17))
    # so few images are whitened to fewer components, which is another preset
    assert rows[1]["status"] == "not comparable" and "modified" in rows[1]["reason"] and rows[1]["std"] is not None
    assert rows[11]["status"] == "not run" and rows[11]["reason"] == "weights not released"

    served.requests.clear()
    monkeypatch.setattr("bench.reproduce.work.carry_out", lambda *given: pytest.fail("run again"))
    code, again, stderr = reproduce(*chosen)
    assert code == 1 and again == rows and not served.requests and stderr.count("nothing is run") == 6
    listed = bench("reproduce", "maskcontrast", *LINEAR, "--results", tmp_path / "results")
    assert listed.stdout.count(" done\n") == 2

    done = bench("reproduce", "maskcontrast", "--yes", *chosen, "--results", tmp_path / "results", "--out", "t.md")
    assert done.returncode == 1 and done.stdout.splitlines()[-1].startswith("FAILED: ")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    heads = ["Clustering", "Linear Classifier", "Retrieval, 7 classes", "Retrieval, 21 classes"]
    table = (tmp_path / "t.md").read_text(encoding="utf-8")
    assert f"| model | {' | '.join(heads)} |" in table and f"35.0<br>{rows[1]['measured']:.2f} ± " in table


@pytest.mark.slow
def test_a_paper_whose_figures_ours_meet_is_reproduced(reproduce, monkeypatch):
    _, rows, _ = reproduce(*LINEAR)
    chosen = papers()["maskcontrast"]
    near = [
        replace(figure, value=rows[number]["measured"] + 0.01) if number in (2, 4) else figure
        for number, figure in chosen.numbered().items()
    ]
    monkeypatch.setitem(papers(), chosen.id, replace(chosen, figures=tuple(near)))
    code, rows, _ = reproduce(*LINEAR)
    assert code == 0 and {rows[2]["status"], rows[4]["status"]} == {"reproduced"}
    code, rows, _ = reproduce(*LINEAR, "--limit", "5")
    assert code == 1 and rows[2]["status"] == "not comparable" and "5 images" in rows[2]["reason"]


# --- broken off ---


@pytest.mark.slow
def test_a_download_that_is_broken_off_goes_on(bench, reproduce, served, cache, signals, tmp_path, monkeypatch):
    sound = served.table[f"/{SUP_LINEAR}"]

    def stop(handler):
        handler._send_file(File(sound.data, breaks=[len(sound.data) // 2]))
        os.kill(os.getpid(), signal.SIGINT)

    served.table[f"/{SUP_LINEAR}"] = stop
    done = bench("reproduce", "maskcontrast", "--yes", *FEW, "--results", tmp_path / "results")
    assert done.returncode == 130 and "the same command continues from there" in done.stderr
    half = Part.of(weights_file(cache, MODELS[3], SUP_LINEAR)).size
    served.table[f"/{SUP_LINEAR}"] = sound
    served.requests.clear()
    _, rows, _ = reproduce(*FEW)
    assert fetched(served) == [SUP_LINEAR] and rows[4]["measured"] is not None
    assert served.ranges() == [f"bytes={half}-" if half else None]


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_without_what_is_done(reproduce, served, environment, cache, tmp_path):
    line = [sys.executable, "-m", "tests.reproducing", served.base, "2", "reproduce", "maskcontrast", "--yes", *FEW]
    killed = subprocess.run(
        [*line, "--results", tmp_path / "results"], cwd=ROOT, env=environment, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (first,) = (tmp_path / "results").rglob("*.json")
    written = first.stat().st_mtime_ns
    served.requests.clear()
    _, rows, stderr = reproduce(*FEW)
    assert not served.requests and stderr.count("nothing is run") == 1 and first.stat().st_mtime_ns == written
    assert all(rows[number]["measured"] is not None for number in (2, 4))


# --- what is missing ends its own rows alone ---


def damage(web, monkeypatch, cache):
    web.table[f"/{UNSUP_LINEAR}"] = File(web.table[f"/{UNSUP_LINEAR}"].data[:-4000] + bytes(4000))


def wrong_hash(web, monkeypatch, cache):
    card = catalogue.model(MODELS[2])
    weights = card.weights.model_copy(update={"sha256": "0" * 64})
    monkeypatch.setitem(catalogue.models(), card.id, card.model_copy(update={"weights": weights}))


def missing(web, monkeypatch, cache):
    del web.table[f"/{UNSUP_LINEAR}"]


def refused(web, monkeypatch, cache):
    web.table[f"/{UNSUP_LINEAR}"] = answer(403, b"sign the agreement first")


def full_disk(web, monkeypatch, cache):
    opened = Part.writer

    def full(self, offset, clock):
        if self.path.name.startswith(UNSUP_LINEAR):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return opened(self, offset, clock)

    monkeypatch.setattr(Part, "writer", full)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "words", "code"),
    [
        (damage, "truncated.*not pinned", 3),
        (wrong_hash, "the one published is 000000000000", 3),
        (missing, r"not there \(404\).*By hand: open", 4),
        (refused, r"403.*By hand: open", 4),
        (full_disk, "No space left on device.*Free space", 4),
    ],
)
def test_a_file_that_cannot_be_had_ends_its_own_row_alone(
    reproduce, served, monkeypatch, cache, spoil, words, code, bench, tmp_path
):
    spoil(served, monkeypatch, cache)
    exit_code, rows, _ = reproduce(*FEW)
    assert exit_code == 1
    assert rows[4]["measured"] is not None and "3 images" in rows[4]["reason"]
    assert rows[2]["status"] == "failed" and rows[2]["fails"] and UNSUP_LINEAR in rows[2]["reason"]
    assert re.search(words, rows[2]["reason"]), rows[2]["reason"]
    alone = bench("reproduce", "maskcontrast", "--yes", "--row", "2", "--limit", "3", "--results", tmp_path / "results")
    assert alone.returncode == code and "failed [1]" in alone.stdout


@pytest.mark.slow
def test_a_licence_that_is_refused_and_no_network_end_their_own_rows(reproduce, served, released, cache):
    path = weights_file(cache, MODELS[3], SUP_LINEAR)
    path.parent.mkdir(parents=True)
    path.write_bytes((released / SUP_LINEAR).read_bytes())
    code, rows, _ = reproduce(*FEW, "--refuse", "nc")
    assert code == 1 and fetched(served) == [DATA] and rows[4]["measured"] is not None
    assert "CC BY-NC 4.0, was refused" in rows[2]["reason"] and "Leave out --refuse" in rows[2]["reason"]
    served.requests.clear()
    _, rows, _ = reproduce(*FEW, "--offline")
    assert not served.requests and "not on this machine" in rows[2]["reason"] and rows[4]["measured"] is not None


@pytest.mark.slow
def test_a_full_disk_at_the_record_loses_no_other_row(reproduce, monkeypatch):
    write = record.write

    def full(made, rows, results):
        if made["model"]["id"] == MODELS[2]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(results))
        return write(made, rows, results)

    with monkeypatch.context() as patch:
        patch.setattr(record, "write", full)
        code, rows, _ = reproduce(*FEW)
        assert code == 1 and rows[4]["measured"] is not None
        assert rows[2]["status"] == "failed" and "Free space" in rows[2]["reason"]
    _, rows, _ = reproduce(*FEW)
    assert rows[2]["measured"] is not None


def test_sizes_are_enough_for_the_clusters():
    assert SIZES["val"] >= catalogue.dataset("pascal-voc").protocols.preset("clustering").clusters
