"""`bench doctor`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bench.base.errors import WrongName
from bench.cli import configuration
from bench.cli.configuration import Source
from bench.cli.console import echo, emit
from bench.cli.settings import (
    cache_option,
    data_root_option,
    data_roots,
    echo_table,
    results_folder,
    results_option,
)
from bench.cli.sizes import size

if TYPE_CHECKING:
    from bench.doctor.findings import Finding

_SOURCES = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.ENVIRONMENT: "environment",
}


@click.command()
@data_root_option
@results_option
@cache_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_context
def doctor(
    context: click.Context, data_root: tuple[str, ...], results: Path | None, cache: Path | None, as_json: bool
) -> int:
    """Check what bench needs on this machine. Problems come first, each with its remedy.

    Checks versions, devices, caches, settings, extras, weights and data. Uses no network and computes nothing.
    Exit 0 if `bench run` would work, 4 if something that it needs is missing or broken.
    """
    from bench.base.files import cache_folder
    from bench.doctor.examine import examine

    records, folder = results_folder(results), cache
    with contextlib.suppress(ImportError):  # examine says which package is missing
        folder = cache_folder(cache)
    problems = _refused(context)
    files = [] if context.obj else configuration.sources()
    settings = [
        {"name": "results", "value": str(records), "source": _source(context, "results", files)},
        {"name": "cache", "value": str(folder or "not known"), "source": _source(context, "cache", files)},
        *_configured(files),
    ]
    given = _source(context, "data_root", files)
    bare_or_named = {text.partition("=")[0] if "=" in text else "" for text in data_root}
    configured = configuration.data_roots(files)
    roots = {
        name: (path, given if name in bare_or_named else configured[name][1])
        for name, path in data_roots(data_root, {name: path for name, (path, _) in configured.items()}).items()
    }
    settings += [
        {"name": f"data root of {name or 'all others'}", "value": str(path), "source": source}
        for name, (path, source) in roots.items()
    ]
    found = examine(folder, records, roots, settings, problems)
    if as_json:
        emit(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    else:
        _print(found)
    return 0 if found["ok"] else 4


def _source(context: click.Context, name: str, files: Sequence[Source] = ()) -> str:
    """Where a setting comes from."""
    source = context.get_parameter_source(name)
    if source is ParameterSource.DEFAULT_MAP:
        saying = [file.name for file in files if name in file.content or "doctor" in file.content]
        return saying[-1]
    return _SOURCES.get(source, "default") if source else "default"


def _refused(context: click.Context) -> list[Finding]:
    """What is wrong in the settings files, else the error of `bench run` about a value in them or the environment."""
    from bench.doctor.findings import Finding

    unread: WrongName | None = context.obj
    if unread is not None:
        return [Finding(unread.problem, f"Correct bench.toml. {unread.remedy}")]
    root = context.find_root()
    assert isinstance(root.command, click.Group)
    try:
        root.command.commands["run"].make_context("run", [], parent=root)
    except click.UsageError as error:
        return [Finding(error.format_message(), "Correct bench.toml, or the variable that gives the value.")]
    return []


def _configured(files: Sequence[Source]) -> Iterator[dict[str, str]]:
    """The settings in files that are for single commands."""
    for file in files:
        for command, table in file.content.items():
            if isinstance(table, dict) and command != "data_roots":
                for key, value in table.items():
                    yield {"name": f"{command} --{key}", "value": str(value), "source": file.name}


def _print(found: dict[str, Any]) -> None:
    for finding in found["problems"]:
        echo(f"problem: {finding['what']}\n  {finding['remedy']}")
    for finding in found["notes"]:
        echo(f"note: {finding['what']}\n  {finding['remedy']}")
    count = len(found["problems"])
    if count:
        echo(f"\n{count} problem{'s' * (count > 1)}: `bench run` does not work here")
    else:
        echo("no problem: `bench run` works here")
    _section("versions", _versions(found["versions"]))
    _section("devices", _devices(found["devices"]))
    cache = found["cache"] or {"folder": "not known", "free_bytes": 0, "parts": []}
    echo(f"\ncache {cache['folder']}, {size(cache['free_bytes'])} free")
    echo_table(_indented((p["name"], size(p["bytes"]), f"{p['files']} files", p["holds"]) for p in cache["parts"]))
    _section("settings", [(s["name"], s["value"], s["source"]) for s in found["settings"]])
    _section("extras", [(e["name"], "installed" if e["there"] else e["how"], e["for"]) for e in found["extras"]])
    _section("weights", [(m["id"], "there" if m["there"] else "missing", _where(m)) for m in found["models"]])
    _section("data sets", [(d["id"], _splits(d), d["root"] or d["source"] or d["how"]) for d in found["datasets"]])


def _section(title: str, rows: list[tuple[str, ...]]) -> None:
    echo(f"\n{title}")
    echo_table(_indented(rows))


def _indented(rows: Any) -> list[tuple[str, ...]]:
    return [(f"  {row[0]}", *row[1:]) for row in rows]


def _where(model: dict[str, Any]) -> str:
    return str(model["path"] or model["how"])


def _splits(dataset: dict[str, Any]) -> str:
    return " ".join(dataset["splits"]) if dataset["there"] else "missing"


def _versions(found: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("bench", found["bench"], found["from"]),
        ("python", found["python"], found["platform"]),
    ]
    for package in found["packages"]:
        state = "" if package["imports"] else "optional" if package["optional"] else "does not import"
        rows.append((package["name"], package["installed"] or "missing", f"{package['needs']}  {state}".strip()))
    return rows


def _devices(found: dict[str, Any]) -> list[tuple[str, ...]]:
    cpu, torch, faiss = found["processor"], found.get("torch"), found.get("faiss")
    memory = "not known"
    if cpu["memory_bytes"] is not None:
        memory = f"{size(cpu['memory_bytes'])}, {size(cpu['available_bytes'])} free"
    rows: list[tuple[str, ...]] = [
        ("processor", f"{cpu['name']}, {cpu['usable_cores']} of {cpu['cores']} cores usable"),
        ("memory", memory),
    ]
    if torch is None:
        rows.append(("torch", "does not import, so GPUs are not known"))
    else:
        build = f"CUDA {torch['cuda']}" if torch["cuda"] else "without CUDA"
        rows.append(("torch", f"{torch['threads']} threads, built {build}"))
        rows += [("  GPU", f"{gpu['name']}, {size(gpu['memory_bytes'])}") for gpu in torch["gpus"]]
        if not torch["gpus"]:
            rows.append(("  GPU", "MPS (--device mps)" if torch["mps"] else "none"))
    if faiss is None:
        rows.append(("faiss", "does not import"))
    else:
        rows.append(("faiss", f"{faiss['threads']} threads, {faiss['gpus'] or 'no'} GPU"))
    if opencv := found.get("cv2"):
        way = f"IPP {opencv['ipp']}" if opencv["ipp"] else "no IPP"
        rows.append(("OpenCV", f"{way}, {opencv['instructions']}, resizing {opencv['bits']}"))
    return rows
