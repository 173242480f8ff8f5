"""A run whose cache was damaged makes what is missing again, says so in one line, and finds the same."""

import json

import pytest

pytestmark = pytest.mark.slow

STORES = {
    "clustering": "observations/*/*.npz",
    "clustering-dense": "p*/*/*.npz",
}


def outcome(folder):
    """Rows and predictions as bytes, figures as values."""
    found = {path.name: path.read_bytes() for path in sorted((folder / "r").rglob("*.npz"))}
    found |= {f"{path.parent.name}/{path.name}": path.read_bytes() for path in sorted((folder / "p").rglob("*.png"))}
    (record,) = (folder / "r").rglob("*.json")
    value = json.loads(record.read_text(encoding="utf-8"))
    return found | {"metrics": value["metrics"], "warnings": value["warnings"]}


def hole(data):
    start = len(data) // 3
    return data[:start] + bytes(64) + data[start + 64 :]


@pytest.mark.parametrize(
    ("protocol", "damage", "more"),
    [
        ("clustering", hole, ["--clusters", "21", "--set", "restarts=1"]),
        (
            "clustering-dense",
            lambda data: data[: len(data) // 2],
            ["--clusters", "21", "--set", "pixels=20", "--set", "restarts=1"],
        ),
    ],
)
def test_a_run_on_a_damaged_cache_finds_the_same(run_voc, tmp_path, monkeypatch, protocol, damage, more):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    arguments = ["--protocol", protocol, "--num-seeds", "1", "--limit", "22", *more]
    arguments += ["--save-predictions", "p", "--results", "r"]
    first = run_voc(*arguments)
    assert first.returncode == 0, first.stderr
    expected = outcome(tmp_path)
    files = sorted((tmp_path / "cache").glob(STORES[protocol]))
    assert files
    for path in files:
        path.write_bytes(damage(path.read_bytes()))
    again = run_voc(*arguments)
    assert again.returncode == 0, again.stderr
    found = outcome(tmp_path)
    assert found["warnings"] == expected["warnings"] and found["metrics"] == expected["metrics"]
    assert {name for name in found if found[name] != expected[name]} == set()
    lines = [line for line in again.stderr.splitlines() if line.endswith("is damaged: it is dropped and made again")]
    assert 1 <= len(lines) <= len(files)
    assert sorted((tmp_path / "cache").glob(STORES[protocol])) == files
