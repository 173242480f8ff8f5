"""What README and docs say is what the program does: commands, cards, links and tables.

A block of commands is run as it stands, page by page, in the folder that `at_hand` makes. One that needs what a test
has not says so in a comment above it (`<!-- needs: … -->`), and its commands are parsed only.
"""

import json
import re
import shlex
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from bench.base.folders import folder
from bench.cards.datasets import DatasetCard, Labels
from bench.cards.files import Download
from bench.cards.models import ModelCard, Training
from bench.cli import cli
from bench.protocols import registry
from bench.records.published import figures
from bench.records.record import dumps, read_all
from bench.report.formats import as_pwc
from tests.conftest import ROOT
from tests.folders import put_pairs

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md"]
BLOCK = re.compile(r"^(?:<!-- needs: (?P<needs>[^\n]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"(?:^|&& |-m |\$\(|- run: )bench (.+?)(?= &&|\)\"|$)", re.M)
MOST_LINES = 170


@dataclass(frozen=True)
class Block:
    """Fenced text of a page."""

    language: str
    text: str
    needs: str | None
    """What a test lacks to run it; None for what is run."""

    @property
    def lines(self) -> list[str]:
        """Its commands, continued lines joined, without empty ones and comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def commands(text: str) -> list[list[str]]:
    """The words after `bench` of each command in a text, without redirection."""
    return [shlex.split(found.partition(" > ")[0], comments=True) for found in COMMAND.findall(text)]


def blocks(page: Path, *languages: str) -> list[Block]:
    found = [Block(match["language"], match["text"], match["needs"]) for match in BLOCK.finditer(read(page))]
    assert len(found) == len(re.findall(r"^```", read(page), re.M)) // 2
    return [block for block in found if block.language in languages]


def name_of(page: Path) -> str:
    return page.stem


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if any(block.needs is None for block in blocks(page, language))]


@pytest.fixture
def at_hand(tmp_path, small_file, monkeypatch):
    """The folder in which a reader is: a checkpoint, a folder of photos with masks at home, and the shipped records."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    shutil.copy(small_file, tmp_path / "my-checkpoint.pth.tar")
    put_pairs(tmp_path / "photos", [f"photo-{number}" for number in range(6)])
    for records in ("results", "before", "new"):
        shutil.copytree(folder("results"), tmp_path / records)
    for path in (tmp_path / "new").rglob("*.json"):  # as if they were of a later run
        path.write_text(dumps(json.loads(read(path)) | {"created": "2100-01-01T00:00:00+00:00"}), encoding="utf-8")
    return tmp_path


# --- commands ---


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("bash"), ids=name_of)
def test_its_commands_run(page, at_hand, bench):
    for block in blocks(page, "bash"):
        for line in block.lines if block.needs is None else []:
            words = shlex.split(line, comments=True)
            target = words[words.index(">") + 1] if ">" in words else None
            program, *arguments = words[: words.index(">")] if target else words
            assert program == "bench", f"a test cannot run `{line}`: mark its block with <!-- needs: … -->"
            done = bench(*(re.sub("^~", str(at_hand), word) for word in arguments))
            assert done.returncode == 0, f"{line}\n{done.stderr}"
            if target:
                (at_hand / target).write_text(done.stdout, encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_its_commands_parse(page, at_hand, bench):  # in that folder, to which `bench` goes
    for block in blocks(page, "bash", "yaml"):
        for name, *arguments in commands("\n".join(block.lines)):
            try:
                cli.commands[name].make_context(name, arguments)
            except click.UsageError as error:
                pytest.fail(f"bench {name} {shlex.join(arguments)}\n{error.format_message()}")


def test_the_first_commands_are_those_of_continuous_integration():
    first = [block.text for block in blocks(ROOT / "README.md", "bash")][:2]
    assert first == ["pip install . && bench run\n", "pip install -e '.[test]' && pytest\n"]


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_it_names_only_commands_and_options_that_exist(page):
    known = {name: options_of(command) for name, command in cli.commands.items()}
    for span in re.findall(r"`([^`\n]+)`", BLOCK.sub("", read(page))):
        if found := re.match(r"bench ([a-z][a-z-]*)(.*)", span):
            assert found[1] in known, span
            assert set(re.findall(r"--[a-z-]+", found[2])) <= known[found[1]], span
        elif span.startswith("--"):
            assert set(re.findall(r"--[a-z-]+", span)) <= set().union(*known.values()), span


def options_of(command: click.Command) -> set[str]:
    own = (option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts))
    return {*own, "--help"}


def test_the_readme_has_every_command_in_its_table():
    table = README.partition("## Commands")[2].partition("\n## ")[0]
    assert set(re.findall(r"`bench ([a-z-]+)", table)) == set(cli.commands)


# --- Python and TOML ---


@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_its_python_runs(page, at_hand, bench):
    for block in blocks(page, "python"):
        if block.needs is None:
            exec(compile(block.text, str(page), "exec"), {"__name__": "example"})


@pytest.mark.parametrize("page", pages_with("toml"), ids=name_of)
def test_its_cards_and_settings_are_valid(page, at_hand, bench):
    for block in blocks(page, "toml"):
        entries = tomllib.loads(block.text)
        if "architecture" in entries or "network" in entries:
            ModelCard.model_validate(entries)
        elif set(entries) == {"training"}:
            assert Training.model_validate(entries["training"])
        elif "layouts" in entries:
            DatasetCard.model_validate(entries)
        elif set(entries) == {"downloads"}:
            assert [Download.model_validate(entry) for entry in entries["downloads"]]
        elif set(entries) == {"map"}:
            assert Labels.model_validate(entries)
        else:
            (at_hand / "bench.toml").write_text(block.text, encoding="utf-8")
            assert bench("list", "models").returncode == 0


# --- links ---


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", read(page)), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_its_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", read(page))):
        if not link.startswith(("http://", "https://")):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_docstrings_refer_to_what_the_docs_have():
    for path in (ROOT / "bench").rglob("*.py"):
        for page, anchor in re.findall(r"\bdocs/([\w-]+\.md)(?:#([\w-]+))?", read(path)):
            assert (ROOT / "docs" / page).is_file(), f"{path}: docs/{page}"
            assert not anchor or anchor in anchors(ROOT / "docs" / page), f"{path}: docs/{page}#{anchor}"


def test_the_readme_leads_to_every_page():
    for page in PAGES[1:]:
        assert f"](docs/{page.name})" in README


# --- tables ---


def test_the_readme_is_short():
    assert len(README.splitlines()) <= MOST_LINES


def test_its_table_is_what_the_program_prints_for_the_shipped_records():
    stored, problems = read_all(folder("results"))
    assert not problems
    for line in as_pwc(figures(), stored, folder("results")).splitlines()[:10]:
        assert line in README


def test_the_docs_explain_every_entry_of_every_protocol(bench):
    """Under its heading, or above where it is shared, with the default that the program has."""
    text = read(ROOT / "docs" / "protocols.md")
    sections = {part.partition("\n")[0].lower(): part for part in text.split("\n## ")}
    shared = entries_in(sections["shared entries"]) | entries_in(sections["geometry"])
    for row in json.loads(bench("list", "protocols", "--json").stdout):
        heading = row["protocol"] if row["protocol"] in sections else registry.protocols()[row["protocol"]].group
        explained = entries_in(sections[heading])
        default = re.search(r"\(default (.*)\)$", row["value"])
        assert (shared | explained)[row["entry"]] == default[1], row
    names = {row["entry"] for row in json.loads(bench("list", "protocols", "--json").stdout)}
    assert set().union(*(entries_in(part) for part in sections.values())) == names


def entries_in(section: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", section, re.M))


def test_the_docs_explain_every_variable():
    used = {name for path in (ROOT / "bench").rglob("*.py") for name in re.findall(r"BENCH_[A-Z_]+", read(path))}
    own = used - {"BENCH_COMPLETE"}  # click's, for the shell's completion
    assert own == set(re.findall(r"^\| `(BENCH_[A-Z_]+)`", read(ROOT / "docs" / "machines.md"), re.M))
