"""Configuration: files of settings, which become the defaults of options.

Two are read: the user's own, and `bench.toml` of the current folder (or the file that $BENCH_CONFIG names), which goes
before it. A file in the current folder may have come with somebody else's data. So reading it is said, no path in it
leads out of its folder, and it lifts no protection.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.base.errors import BadInput, WrongName
from bench.base.escaping import printable
from bench.base.paths import expand
from bench.base.toml_files import read_toml
from bench.cli.console import echo
from bench.cli.parameters import Deliberate, NameOrPath, Place

FILE = "bench.toml"
SHARED = ("results", "cache")
"""Settings of all commands."""
_ROOTS = "data_roots"
_REMEDY = "docs/machines.md has an example."
_REPLACEABLE = (".md", ".json", ".csv", ".tex", ".zip", ".png", ".jpg", ".jpeg")
"""Files of these kinds may be replaced at the word of a folder's configuration: bench writes such."""


@dataclass(frozen=True)
class Source:
    """A file of settings, read and of the right form."""

    path: Path
    content: Mapping[str, Any]
    own: bool
    """Whether it is the user's: it lies in their configuration, or $BENCH_CONFIG names it."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return printable(self.path)

    def refuse(self, key: str, why: str, remedy: str = _REMEDY) -> WrongName:
        """The error for a setting."""
        return WrongName(f"{self.name}: {key} {why}", remedy)


def own_file() -> Path | None:
    """The user's own file, which need not be there: $XDG_CONFIG_HOME/bench/bench.toml, else below ~/.config."""
    given = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - it does not fail without a home
    folder = given if given.is_absolute() else home / ".config"
    return folder / "bench" / FILE if folder.is_absolute() else None


def sources() -> list[Source]:
    """The files that are there; a later one goes before an earlier one. Raises WrongName for what is wrong in one."""
    own, named = own_file(), os.environ.get("BENCH_CONFIG")
    found = [_read(own, own=True)] if own is not None and _is_file(own) else []
    if named:
        path = _expand(named, "$BENCH_CONFIG")
        if not _is_file(path):
            raise WrongName(f"$BENCH_CONFIG names {path}, which does not exist", "Correct or unset the variable.")
        return [*found, _read(path, own=True)]
    here = Path(FILE)
    if _is_file(here) and not (found and here.samefile(found[0].path)):
        found.append(_read(here, own=False))
    return found


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - a folder that may not be entered is no error


def _expand(path: str, key: str) -> Path:
    try:
        return expand(path)
    except BadInput as error:
        raise WrongName(f"{key}: {error.problem}", error.remedy) from error


def _read(path: Path, *, own: bool) -> Source:
    try:
        content = read_toml(path)
    except OSError as error:
        raise WrongName(f"{path} cannot be read: {error.strerror or error}", "Correct its permissions.") from error
    except ValueError as error:
        raise WrongName(f"{path} is not a TOML file: {error}", _REMEDY) from error
    source = Source(path, content, own)
    for key in SHARED:
        if not isinstance(content.get(key, ""), str):
            raise source.refuse(key, "must be a path in quotes")
    roots = content.get(_ROOTS, {})
    if not isinstance(roots, dict) or not all(isinstance(value, str) for value in roots.values()):
        raise source.refuse(f"[{_ROOTS}]", 'must have lines of the form ID = "PATH"')
    for name, root in roots.items():
        _expand(root, f"{source.name}: [{_ROOTS}] {name}")
    return source


def data_roots(files: Sequence[Source]) -> dict[str, tuple[Path, str]]:
    """Data set id → its folder, and the name of the file that says so."""
    tables = [(source.name, source.content.get(_ROOTS, {})) for source in files]
    return {key: (expand(root), name) for name, table in tables for key, root in table.items()}


def default_map(commands: Mapping[str, click.Command], files: Sequence[Source]) -> dict[str, dict[str, Any]]:
    """The settings as click's defaults, by command: `results` and `cache` for all, `[run]` and so on for one.

    Raises WrongName for a setting that no command has, a value of a wrong kind, and what a folder's file may not say.
    """
    defaults: dict[str, dict[str, Any]] = {name: {} for name in commands}
    for source in files:
        _require_known(source, commands)
        for name, command in commands.items():
            flags = _flags(command)
            for key in SHARED:
                if key in source.content and key in flags:
                    defaults[name][key] = _value(source, key, key, flags[key], source.content[key])
            for key, value in source.content.get(name, {}).items():
                option = _option(source, name, key, flags)
                defaults[name][str(option.name)] = _value(source, f"[{name}] {key}", key, option, value)
    return defaults


def announce(files: Sequence[Source]) -> None:
    """Say on stderr that the folder's configuration is read: its owner may not be the user. Rank 0 speaks for all."""
    if os.environ.get("RANK", "0") in ("", "0"):
        for source in files:
            if not source.own:
                echo(f"reading ./{source.name}", err=True)


def _require_known(source: Source, commands: Mapping[str, click.Command]) -> None:
    for name, table in source.content.items():
        if name not in (*SHARED, _ROOTS) and (name not in commands or not isinstance(table, dict)):
            known = ", ".join([*SHARED, _ROOTS, *(f"[{command}]" for command in commands)])
            raise WrongName(f"{source.name}: unknown setting '{name}'", f"Known are {known}.")


def _plain(flag: str) -> str:
    """A flag as a key, in which - and _ are alike."""
    return flag.lstrip("-").replace("-", "_")


def _flags(command: click.Command) -> dict[str, click.Option]:
    """A command's options by their flags, as keys."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return {_plain(flag): option for option in options for flag in option.opts if flag.startswith("--")}


def _option(source: Source, command: str, key: str, flags: Mapping[str, click.Option]) -> click.Option:
    """The option of a key. Raises WrongName, with the right name for one that the program uses only inside."""
    if option := flags.get(_plain(key)):
        return option
    for option in flags.values():
        right = option.opts[-1].lstrip("-") if option.opts[-1].startswith("--") else option.opts[0].lstrip("-")
        if _plain(key) == option.name:
            raise source.refuse(f"[{command}]", f"has no option '{key}'", f"It is called {right}.")
        if _plain(key) in map(_plain, option.secondary_opts):
            raise source.refuse(f"[{command}]", f"has no option '{key}'", f"Write {right} = false.")
    raise source.refuse(f"[{command}]", f"has no option '{key}'", f"`bench {command} -h` shows its options.")


def _value(source: Source, key: str, flag: str, option: click.Option, value: Any) -> Any:
    """A setting's value as click takes it from the command line."""
    if not source.own and isinstance(option, Deliberate):
        raise source.refuse(key, f"lifts a protection, {_MAY_NOT}", _remedy(flag))
    if option.is_flag:
        if not isinstance(value, bool):
            raise source.refuse(key, "must be true or false")
        return value
    values = value if option.multiple and isinstance(value, list) else [value]
    for each in values:
        if isinstance(each, bool) or not isinstance(each, (str, int, float)):
            raise source.refuse(key, "must be text or a number" + (", or a list of such" if option.multiple else ""))
        if not source.own:
            _require_inside(source, key, flag, option, str(each))
    texts = tuple(map(str, values))
    return texts if option.multiple else texts[0]


_MAY_NOT = "which the configuration of a folder may not"


def _remedy(flag: str) -> str:
    own = own_file()
    yours = f", or put it into your own configuration, {own}" if own else ""
    return f"Remove it there, and give --{flag.replace('_', '-')} on the command line{yours}."


def _require_inside(source: Source, key: str, flag: str, option: click.Option, value: str) -> None:
    """Raises WrongName for a path by which a folder's configuration would reach beyond the folder."""
    kind = option.type
    if not isinstance(kind, (Place, NameOrPath)) or (place := kind.place(value)) is None:
        return
    home = Path(os.path.realpath(source.path.parent))
    target = Path(os.path.realpath(home / _expand(place, f"{source.name}: {key}")))
    why = next(_reasons(kind, home, target), None)
    if why is not None:
        raise source.refuse(f"{key} = '{value}'", f"{why}, {_MAY_NOT}", _remedy(flag))


def _reasons(kind: Place | NameOrPath, home: Path, target: Path) -> Iterator[str]:
    """What speaks against a place, links resolved, at the word of the configuration of the folder `home`."""
    if not target.is_relative_to(home):
        yield "leads out of its folder"
    elif isinstance(kind, Place) and kind.writes and kind.file_okay:
        if any(part.startswith(".") for part in target.relative_to(home).parts):
            yield "writes a hidden file"
        if _is_file(target) and target.suffix.lower() not in _REPLACEABLE:
            yield "replaces a file that bench does not write"
