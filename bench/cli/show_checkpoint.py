"""`bench show FILE`: the network that a checkpoint holds, and what can evaluate it."""

from __future__ import annotations

from pathlib import Path

from bench.cli.console import echo
from bench.cli.settings import echo_table


def show_checkpoint(name: str, cache: Path) -> None:
    """Print the network that a file holds, and what can evaluate it. Raises BadInput if `bench run` would refuse it."""
    from bench.base.paths import expand
    from bench.networks.checkpoints import count_parameters, in_words
    from bench.networks.find_model import find_model

    path = expand(name)
    subject = find_model(name, None, cache, lambda message: None)
    architecture = subject.architecture
    assert architecture is not None
    if subject.outputs is not None:
        linear = "the classifier in the file"
    else:
        linear = "a classifier trained on its features, which are " + subject.features_are()
    rows = [
        ("file", path.name),
        ("id", subject.id),
        ("sha256", subject.weights_sha256),
        ("read as", in_words(architecture)),
        ("holds", architecture.what),
        ("parameters", f"{count_parameters(architecture):,}"),
        ("protocols", ", ".join(subject.protocols)),
        ("linear takes", linear),
        *([("note", subject.note)] if subject.note else []),
    ]
    echo_table(rows)
    protocol = "" if subject.has_embedding else f" --protocol {'linear' if subject.outputs else 'clustering-dense'}"
    echo(f"\nbench run --model {path}{protocol} evaluates it; --name and --supervision add what the file does not say")
