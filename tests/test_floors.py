"""The import rule of `bench/`: arrows go down, and only where they may."""

import ast
import subprocess
import sys

import pytest

from tests.tools import floors
from tests.tools.floors import ROOT, Import, imports, problem


@pytest.mark.slow
def test_every_import_goes_down():
    wrong = [f"{found.file.relative_to(ROOT)}:{found.line}: {said}" for found in imports() if (said := problem(found))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "module", "at_top", "expected"),
    [
        ("scoring/metrics.py", "networks.subjects", True, "scoring must not import networks: it is no lower floor"),
        ("report/check.py", "runs.plan", False, "report must not import runs"),
        ("report/check.py", "data.samples", False, "report must not import data"),
        ("report/check.py", "torch", True, "report loads torch when it is imported"),
        ("report/check.py", "torch", False, None),
        ("report/check.py", "protocols.registry", True, None),
        ("report/check.py", "protocols.base", True, "report must not import protocols"),
        ("discover/tree.py", "download.http", True, "discover must not import download"),
        ("pretrain/pairs.py", "priors.reader", True, None),
        ("priors/reader.py", "pretrain.pairs", True, "priors must not import pretrain"),
        ("base/files.py", "cards.card", True, "base must not import cards"),
        ("elsewhere/new.py", "base.files", True, "elsewhere has no floor"),
    ],
)
def test_a_breach_is_said(file, module, at_top, expected):
    said = problem(Import(ROOT / "bench" / file, 1, module, at_top))
    assert said is None if expected is None else said is not None and expected in said


def test_imports_are_read_wherever_they_stand(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "one.py").write_text(
        "import torch.nn\nfrom bench.cards import card\nif TYPE_CHECKING:\n    import torch\n"
        "def late():\n    from bench.runs.run import evaluate\n"
    )
    found = [(one.module, one.at_top) for one in imports(tmp_path)]
    assert sorted(found) == [("cards.card", True), ("runs.run.evaluate", False), ("torch", False), ("torch", True)]


def test_every_folder_says_what_it_is_for():
    for file in (ROOT / "bench").rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), file


@pytest.mark.slow
def test_contributing_shows_the_floors():
    assert floors.table() in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "modules",
    [
        "bench.cli",
        "bench.report.formats, bench.report.check, bench.report.site",
        "bench.cli.listing, bench.cards.catalogue",
    ],
)
def test_what_only_reads_or_plans_loads_no_torch(modules):
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
def test_every_module_that_is_imported_is_there():
    """The type checker takes a module that is missing for somebody else's."""
    missing = [f"{one.file.relative_to(ROOT)}:{one.line}: bench.{one.module}" for one in imports() if not one.exists()]
    assert not missing, "\n".join(missing)
