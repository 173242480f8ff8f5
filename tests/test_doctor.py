"""`bench doctor` on whole and on broken environments, and the version in every file that names it."""

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bench import __version__
from bench.cards import catalogue
from bench.doctor import advisories, machine, packages
from bench.doctor.examine import _extras, _gpu_notes
from bench.doctor.probe import probe
from tests.conftest import ROOT

FAKES = {
    "raises": 'raise ImportError("libcublas.so.12: cannot open shared object file")',
    "dies": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "leaves": "import sys; sys.exit(3)",
    "chatters": "print('hello'); print('{\"module\": 1}')\nimport os; os.write(1, b'[1, 2\\n')",
}


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Put a module of this name and content before all others, for child processes."""
    folder = tmp_path / "fakes"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def make(name, content):
        (folder / f"{name}.py").write_text(content, encoding="utf-8")

    return make


def doctor(capfd, monkeypatch, tmp_path, *arguments, expected=0, probes=True):
    """`bench doctor` in an empty folder, with an empty cache; imports that are not the matter are skipped."""
    from bench.cli import main
    from bench.doctor import examine
    from bench.doctor.probe import Probed

    monkeypatch.chdir(tmp_path)
    if not probes:
        monkeypatch.setattr(examine, "probe", lambda modules: Probed())
    capfd.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["doctor", *map(str, arguments)])
    out, err = capfd.readouterr()
    assert left.value.code == expected, out + err
    return out


@pytest.fixture
def look(capfd, monkeypatch, tmp_path):
    """`doctor` without the imports."""
    for name in [name for name in os.environ if name.startswith("BENCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return lambda *arguments, **more: doctor(capfd, monkeypatch, tmp_path, *arguments, **{"probes": False} | more)


@pytest.mark.slow
def test_a_whole_environment_has_no_problem_and_everything_is_said(look):
    found = json.loads(look("--json", probes=True))
    assert found["ok"] and not found["problems"]
    assert found["versions"]["bench"] == __version__
    assert {"torch", "scipy", "numpy"} <= {package["name"] for package in found["versions"]["packages"]}
    needed = [package for package in found["versions"]["packages"] if not package["optional"]]
    assert all(package["imports"] and package["installed"] for package in needed)
    assert found["devices"]["torch"]["threads"] >= 1 and found["devices"]["faiss"]["version"]
    assert found["devices"]["processor"]["usable_cores"] >= 1
    assert found["devices"]["cv2"]["instructions"] and len(found["devices"]["cv2"]["bits"]) == 8
    assert {extra["name"] for extra in found["extras"]} >= {"crf", "train"}
    assert {model["id"] for model in found["models"]} == set(catalogue.models())
    assert {entry["id"] for entry in found["datasets"]} == set(catalogue.datasets())


def test_the_page_for_people_begins_with_the_verdict_and_names_the_commands(look):
    lines = look().splitlines()
    assert lines[0] == "no problem: `bench run` works here"
    assert re.search(r"maskcontrast-sup +missing +bench download maskcontrast-sup$", "\n".join(lines), re.M)
    assert re.search(r"pascal-voc +missing +bench download pascal-voc$", "\n".join(lines), re.M)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fake", "reason"),
    [
        ("raises", "ImportError: libcublas.so.12: cannot open shared object file"),
        ("dies", "the import ends Python with SIGKILL"),
        ("leaves", "SystemExit: 3"),
        ("chatters", ""),
    ],
)
def test_a_library_that_breaks_is_named_and_hides_no_other(broken, fake, reason):
    broken("faiss_like", FAKES[fake])
    broken("whole", "")
    found = probe(["json", "faiss_like", "no_such_module", "whole"])
    assert found.failures.pop("no_such_module") == "ModuleNotFoundError: No module named 'no_such_module'"
    assert found.failures == ({"faiss_like": reason} if reason else {})


@pytest.mark.slow
def test_faiss_that_does_not_import_is_a_problem_with_its_remedy_and_exit_4(broken, look, tmp_path):
    broken("torch", FAKES["dies"])
    broken("faiss", FAKES["raises"])
    out = look(expected=4, probes=True)
    torch, faiss = out.splitlines()[0], next(line for line in out.splitlines() if "faiss does not" in line)
    assert torch == "problem: torch does not import: the import ends Python with SIGKILL"
    assert faiss.endswith("libcublas.so.12: cannot open shared object file")
    assert re.search(r"pip install --force-reinstall 'faiss-(gpu|cpu)>=", out)
    assert "`bench run` does not work here" in out and "versions\n" in out and "cache " in out


def needed(name, needs=">=2", version="3.0", fits=True, extra=None):
    return packages.Package(name, needs, version, fits, extra)


def test_old_missing_and_doubled_packages_are_told_apart(monkeypatch):
    monkeypatch.setattr(packages, "installed", lambda name: "1.15" if name in ("faiss-gpu", "faiss-cpu") else None)
    found = packages.problems(
        [
            needed("pandas", version="1.5", fits=False),
            needed("scikit-learn", version=None),
            needed("pillow"),
            needed("faiss-gpu", ">=1.14"),
            needed("pydensecrf2", version=None, extra="crf"),
        ],
        {"sklearn": "No module named 'sklearn'", "PIL": "ImportError: no codec"},
    )
    assert [(one.what, one.remedy) for one in found[:3]] == [
        ("pandas 1.5 does not fit (>=2 is needed)", "pip install --upgrade 'pandas>=2'"),
        ("scikit-learn is not installed", "pip install 'scikit-learn>=2'"),
        ("PIL does not import: ImportError: no codec", "pip install --force-reinstall 'pillow>=2'"),
    ]
    assert found[3].what == "faiss-gpu and faiss-cpu are both installed, and each overwrites files of the other"
    assert found[3].remedy == "pip uninstall --yes faiss-gpu faiss-cpu && pip install 'faiss-gpu>=1.14'"
    assert len(found) == 4


def test_another_build_of_faiss_is_as_good_and_a_package_without_metadata_that_imports_is_one(monkeypatch):
    monkeypatch.setattr(packages, "installed", lambda name: "1.9" if name == "faiss-cpu" else None)
    assert packages.problems([needed("faiss-gpu", version=None), needed("torch", version=None)], {}) == []


def test_what_is_required_is_read_off_setup_cfg_and_off_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "setup.cfg").write_text(
        "[options]\npython_requires = >=3.11\ninstall_requires =\n    torch>=99\n    six; platform_system == 'Amiga'\n"
        "[options.extras_require]\ncrf =\n    no-such-package>=1\ntest =\n    maskcontrast-bench[crf]\n    pytest>=1\n"
    )
    found = packages.needs(tmp_path)
    assert [(p.name, p.needs, p.extra, p.fits) for p in found.packages] == [
        ("torch", ">=99", None, False), ("no-such-package", ">=1", "crf", True), ("pytest", ">=1", "test", True),
    ]  # fmt: skip
    assert found.extras() == ["crf"]
    lines = ["torch>=2.4", "six; platform_system == 'Amiga'", "no-such-package; extra == 'crf'"]
    installed = list(packages._packages(lines, ["crf", "train"]))
    assert [(p.name, p.extra) for p in installed] == [("torch", None), ("no-such-package", "crf")]
    assert packages.python_problem(">=3.11") is None
    assert "99" in packages.python_problem(">=99").what


def test_the_build_of_faiss_that_is_installed_is_the_one_shown_and_mended(monkeypatch):
    there = {"faiss-cpu": "1.15.1"}
    monkeypatch.setattr(packages, "installed", there.get)
    lines = ["faiss-gpu>=1.14.3", "faiss-cpu>=1.9; platform_system == 'Amiga'"]
    (shown,) = packages._packages(lines, ())
    assert shown == packages.Package("faiss-cpu", ">=1.9", "1.15.1", True)
    (found,) = packages.problems([shown], {"faiss": "ImportError: no codec"})
    assert found.remedy == "pip install --force-reinstall 'faiss-cpu>=1.9'"
    there["faiss-gpu"] = "1.15.1"
    assert [one.name for one in packages._packages(lines, ())] == ["faiss-gpu"]
    there.clear()
    assert [one.requirement for one in packages._packages(lines, ())] == ["faiss-gpu>=1.14.3"]
    there["faiss-gpu-cu12"] = "1.8"
    assert [(one.requirement, one.fits) for one in packages._packages(lines, ())] == [("faiss-gpu-cu12", True)]


@pytest.mark.parametrize("version", [None, "0.29"])
def test_without_torchvision_nothing_is_wrong(version):
    package, failures = needed("torchvision", version=version), {"torchvision": "RuntimeError: no operator"}
    assert package.optional and packages.problems([package], failures) == packages.notes([package], {}) == []
    (note,) = packages.notes([package, needed("torch", version=None)], failures)
    assert note.what == f"torchvision {'does not import: RuntimeError: no operator' if version else 'is not installed'}"
    assert note.remedy == "It is optional: no command imports it."


def test_holes_of_installed_packages_are_named_with_the_version_that_closes_them_all():
    versions = {
        "torch": "2.5.1+cu124",
        "pillow": "12.3.0",
        "opencv-python": "4.11.0.86",
        "filelock": "dev",
        "jinja2": "4",
    }
    found = {one.what.split(" ")[0]: one for one in advisories.notes(versions.get)}
    assert found.keys() == {"torch", "pillow", "opencv-python"}
    torch, pillow = found["torch"], found["pillow"]
    assert torch.what.startswith("torch 2.5.1+cu124 has known holes (as of 20")
    assert "CVE-2025-32434" in torch.what and "CVE-2026-24747" in torch.what
    assert torch.remedy == "pip install --upgrade 'torch>=2.10.0'"
    assert "CVE-2026-112403" in pillow.what and "CVE-2026-25990" not in pillow.what
    assert advisories.notes(lambda name: None) == []


def test_the_lowest_admitted_version_of_every_package_closes_the_known_holes():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = [line.partition(";")[0] for line in config["options"]["install_requires"].split("\n") if line]
    floors = {requirement.name: next(iter(requirement.specifier)).version for requirement in map(Requirement, lines)}
    known, date = advisories.advisories()
    assert {one.package for one in known} <= floors.keys() and re.fullmatch(r"20\d\d-\d\d-\d\d", date)
    assert advisories.notes(floors.get) == []
    assert all(one.ids and one.permits and one.source.startswith("https://") for one in known)


def test_doctor_says_which_packages_have_holes(look, monkeypatch):
    monkeypatch.setattr(packages, "installed", {"pillow": "12.1.0"}.get)
    hole = "a PSD file, whatever it is called, overwrites memory when it is opened (CVE-2026-25990)"
    assert hole in look(expected=4)  # too old, and other packages are not there


def test_hints_for_extras_name_the_packages_where_torch_has_no_cuda():
    known = packages.Needs(">=3.11", (needed("b", ">=2", None, extra="train"), needed("c", "", extra="train")))
    hints = [_extras(known, torch)[0]["how"] for torch in (None, {"cuda": "13.0"}, {"cuda": None})]
    assert hints == ["pip install 'maskcontrast-bench[train]'"] * 2 + ["pip install 'b>=2' c"]


def test_the_requirements_of_a_cpu_install_are_setup_cfg_s_but_for_faiss_gpu_and_torchvision():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    expected = [line.partition(";")[0] for line in config["options"]["install_requires"].split("\n") if line]
    expected = [line for line in expected if not line.startswith(("faiss-gpu", "torchvision"))]
    lines = (ROOT / "requirements-cpu.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == expected


def test_a_cache_that_cannot_be_written_is_a_problem_and_nothing_is_created(look, tmp_path):
    (tmp_path / "file").write_text("x")
    out = look("--cache", tmp_path / "file" / "cache", expected=4)
    assert out.startswith(f"problem: cannot write the cache to {tmp_path}/file/cache")
    assert "Give another folder with --cache" in out.splitlines()[1]
    look("--cache", tmp_path / "new", "--results", tmp_path / "records")
    assert not (tmp_path / "new").exists() and not (tmp_path / "records").exists()


def test_a_full_disk_is_a_problem(tmp_path):
    assert machine.space_problem(tmp_path, 10**12) is None
    assert machine.space_problem(tmp_path, 10**6).what.startswith("1 MB are free")


def test_the_cache_s_parts_are_measured(look, tmp_path):
    for name, size in (("observations/a/00000.npz", 1000), ("observations/a/meta.json", 24), ("weights/m/w.pth", 5)):
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    (tmp_path / "cache/weights/loop").symlink_to(tmp_path)
    parts = {part["name"]: part for part in json.loads(look("--json"))["cache"]["parts"]}
    assert (parts["observations"]["bytes"], parts["observations"]["files"]) == (1024, 2)
    assert parts["weights"]["files"] == 2  # the link itself, not what lies behind it
    assert all(part["holds"] for part in parts.values())


def test_each_setting_says_where_it_comes_from(look, tmp_path, monkeypatch):
    (tmp_path / "bench.toml").write_text(
        'results = "kept"\ncache = "lost"\n[data_roots]\ndavis = "/no/davis"\n[run]\ndevice = "cpu"\n'
    )
    monkeypatch.setenv("BENCH_DATAROOT", "typo")
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy")
    out = look("--json", "--data-root", "pascal-voc=here")
    assert "secret" not in out
    found = json.loads(out)
    sources = {one["name"]: (one["value"], one["source"]) for one in found["settings"]}
    assert sources["results"] == ("kept", "bench.toml")
    assert sources["cache"] == (str(tmp_path / "cache"), "environment")
    assert sources["data root of davis"] == ("/no/davis", "bench.toml")
    assert sources["data root of pascal-voc"] == ("here", "flag")
    assert sources["run --device"] == ("cpu", "bench.toml")
    assert sources["https_proxy"] == ("set", "environment")
    noted = [note["what"] for note in found["notes"]]
    assert "$BENCH_DATAROOT is set, but is not a setting of bench" in noted
    assert "there is no folder /no/davis (bench.toml), the data root of davis" in noted
    assert json.loads(look("--json", "--cache", "x"))["settings"][1] == {
        "name": "cache",
        "value": "x",
        "source": "flag",
    }


def test_a_data_root_without_the_built_in_data_set_is_a_problem_for_a_run_without_options(look, tmp_path):
    out = look("--data-root", "/no/where", expected=4)
    assert out.startswith("problem: there is no folder /no/where (flag), the data root of shapes\n  Correct the path.")
    assert f"{tmp_path} (flag) holds no split of shapes" in look("--data-root", tmp_path, expected=4)
    assert "note: there is no folder /no/where (flag)" in look("--data-root", "pascal-voc=/no/where")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("results =", "bench.toml is not a TOML file"),
        ("results = 3", "bench.toml: results must be a path"),
        ("[run]\nlimt = 3", "bench.toml: [run] has no option 'limt'"),
        ('[run]\nbatch-size = "many"', "'--batch-size': 'many' is not a valid integer"),
    ],
)
def test_a_broken_bench_toml_is_a_problem_beside_all_others(look, tmp_path, content, says):
    (tmp_path / "bench.toml").write_text(content, encoding="utf-8")
    found = json.loads(look("--json", "--data-root", "/no/where", expected=4))
    assert says in found["problems"][0]["what"] and "bench.toml" in found["problems"][0]["remedy"]
    assert "/no/where" in found["problems"][1]["what"]
    assert found["versions"]["bench"] == __version__ and found["settings"]


def test_weights_and_data_that_are_there_are_found_where_a_run_finds_them(look, tmp_path, golden):
    weights = tmp_path / "cache/weights/maskcontrast-sup/maskcontrast-sup.pth.tar"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"x")
    (tmp_path / "cache/datasets/pascal-voc").mkdir(parents=True)
    (tmp_path / "cache/datasets/pascal-voc/VOCSegmentation").symlink_to(golden / "VOCSegmentation")
    found = json.loads(look("--json"))
    models = {one["id"]: one for one in found["models"]}
    assert models["maskcontrast-sup"]["path"] == str(weights)
    assert not models["maskcontrast-unsup"]["there"]
    voc = next(one for one in found["datasets"] if one["id"] == "pascal-voc")
    assert voc["there"] and voc["source"] == "the cache" and voc["splits"] == ["val", "train"]


def test_cards_that_cannot_be_read_and_a_missing_default_model_are_problems(look, monkeypatch):
    from bench.base.errors import BadInput
    from bench.doctor import inventory

    monkeypatch.setattr(inventory, "local_weights", lambda card, cache: None)
    out = look(expected=4)
    assert out.startswith("problem: the weights of maskcontrast-shapes, which `bench run` evaluates, are missing")

    def refuse():
        raise BadInput("models/x.toml: id: unknown key", "Correct the card.")

    monkeypatch.setattr(catalogue, "models", refuse)
    assert look(expected=4).startswith("problem: models/x.toml: id: unknown key\n  Correct the card.")


def test_gpus_that_will_not_be_used_are_noted():
    cpu, gpu = {"gpus": [], "cuda": "13.0"}, {"gpus": [{"name": "G"}], "cuda": "13.0"}
    there, absent = (lambda name: "/bin/x"), (lambda name: None)
    assert _gpu_notes({"torch": cpu, "faiss": {"gpus": 0}}, absent) == []
    assert "torch (built for CUDA 13.0) sees no GPU" in _gpu_notes({"torch": cpu}, there)[0].what
    assert "K-means runs on the CPU" in _gpu_notes({"torch": gpu, "faiss": {"gpus": 0}}, there)[0].what
    assert _gpu_notes({"torch": gpu, "faiss": {"gpus": 1}}, there) == []


@pytest.mark.slow
def test_without_numpy_pydantic_and_psutil_doctor_still_answers(broken, tmp_path):
    for name in ("numpy", "pydantic", "psutil", "platformdirs"):
        broken(name, FAKES["raises"])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BENCH_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "fakes"), str(ROOT)])
    command = [sys.executable, "-m", "bench", "doctor"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4 and "Traceback" not in done.stderr, done.stderr
    for name in ("numpy", "pydantic", "psutil", "platformdirs"):
        assert f"problem: {name} does not import" in done.stdout


# --- the files beside the README ---


def test_the_version_is_the_same_everywhere():
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M).group(1) == __version__
    versions = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == __version__


def test_the_citation_names_the_paper_and_invents_no_address():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert text.startswith("cff-version: 1.2.0\n") and "arXiv:2102.06191" in text and "The bench contributors" in text
    assert not re.search(r"^\s*(doi|url|repository-code):", text, re.M)


def test_what_contributing_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:tests|bench|models|datasets|results|\.ci)/[\w./-]*)`", text)
    assert len(paths) > 8
    for path in paths:
        assert (ROOT / Path(path)).exists(), path
