"""Shell completion: `bench completion bash`, and the ids that options and arguments take.

A shell asks at every key press, so cards are only searched for their ids, and no heavy library is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from bench.base.errors import BadEnvironment
from bench.base.folders import default_records, folder
from bench.base.paths import expand
from bench.cli.console import emit

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

VARIABLE = "_BENCH_COMPLETE"
_EPILOG = """\b
Add the line for your shell to its start-up file:
  bash   eval "$(bench completion bash)"                                        # ~/.bashrc
  zsh    eval "$(bench completion zsh)"                                         # ~/.zshrc, after compinit
  fish   bench completion fish > ~/.config/fish/completions/bench.fish          # once
"""


@click.command(epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script with which a shell completes commands, options and ids."""
    kind = get_completion_class(shell)
    if kind is None:
        raise BadEnvironment(f"this version of click has no completion for {shell}", "pip install --upgrade click")
    emit(kind(context.find_root().command, {}, "bench", VARIABLE).source() + "\n")
    return 0


def _cards(kind: str) -> Iterator[dict[str, Any]]:
    """The content of a folder's cards, unchecked; a card that cannot be read is left out."""
    from bench.base.toml_files import read_toml

    for path in sorted(folder(kind).glob("*.toml")):
        try:
            yield read_toml(path)
        except (OSError, ValueError):
            continue


def ids(*kinds: str, files: bool = True) -> Complete:
    """The ids of cards in the catalogue's folders `kinds`; with `files`, the names of files as well."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        # bash takes files only where no id fits, and wants to hear of them first
        items = [CompletionItem(incomplete, type="file")] if files else []
        found = {str(card.get("id", "")): str(card.get("title", "")) for kind in kinds for card in _cards(kind)}
        return items + [CompletionItem(i, help=title) for i, title in found.items() if i and i.startswith(incomplete)]

    return complete


def protocols(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of protocols, and the names that stand for several."""
    from bench.protocols import registry

    names = [*registry.plain_names(), *registry.groups()]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def papers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of papers that `bench reproduce` takes."""
    from bench.reproduce.papers import papers as known

    return [CompletionItem(one.id, help=one.title) for one in known().values() if one.id.startswith(incomplete)]


def paper_rows(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The numbers of the rows of the paper that the line names."""
    from bench.records.published import points
    from bench.reproduce.papers import papers as known

    # click leaves the argument unread where an option waits for its value
    named = [context.params.get("name"), *context.args]
    paper = next((known()[name] for name in named if name in known()), None)
    numbered = paper.numbered() if paper else {}
    return [
        CompletionItem(str(number), help=f"{figure.model}, {figure.protocol}, {points(figure.value)}")
        for number, figure in numbered.items()
        if str(number).startswith(incomplete)
    ]


def preset_entries(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What `--set` takes for the protocols that the line names; for all protocols if it names none that exists."""
    from bench.protocols import registry

    given = context.params.get("protocols") or context.params.get("protocol") or ()
    known, groups = registry.protocols(), registry.groups()
    named = [one for name in ((given,) if isinstance(given, str) else given) for one in groups.get(name, (name,))]
    ids = [found[0] for name in named if (found := registry.parsed(name))] or sorted(known)
    keys = {key: entry.description for one in ids for key, entry in known[one].preset_type.model_fields.items()}
    return _settings(keys, incomplete)


def recipe_entries(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What `--set` takes for pre-training."""
    from bench.cards.recipes import Recipe, settable

    fields = Recipe.model_fields
    return _settings({key: fields[key].description if key in fields else None for key in settable()}, incomplete)


def _settings(keys: Mapping[str, str | None], incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(f"{key}=", help=" ".join((meaning or "").split()))
        for key, meaning in keys.items()
        if key.startswith(incomplete)
    ]


def records(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The records below the folder of records, as MODEL/DATASET-SPLIT/PROTOCOL, and the names of files."""
    results = expand(context.params.get("results") or default_records())
    pictures = ".examples"  # the folder of these beside a record has a JSON file of its own
    paths = sorted(path for path in results.rglob("*.json") if path.parent.suffix != pictures)
    names = (path.relative_to(results).with_suffix("").as_posix() for path in paths)
    return [
        CompletionItem(incomplete, type="file"),
        *(CompletionItem(name) for name in names if name.startswith(incomplete)),
    ]


def ids_and_records(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of models and data sets, the names of records, and the names of files."""
    named = ids("models", "datasets")(context, parameter, incomplete)
    return named + [item for item in records(context, parameter, incomplete) if item.type != "file"]


def splits(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The splits of the data sets that the line names; of all data sets if it names none."""
    given = context.params.get("datasets") or context.params.get("dataset") or ()
    wanted: Sequence[str] = (given,) if isinstance(given, str) else given
    names: dict[str, None] = {}
    for card in _cards("datasets"):
        if not wanted or card.get("id") in wanted:
            names |= dict.fromkeys(card.get("splits", {}))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
