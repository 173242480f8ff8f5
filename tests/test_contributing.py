"""What people copy to contribute: lines, cards, forms, and the workflow that runs figures again every week."""

import csv
import io
import os
import re
import shlex
import subprocess
import sys

import click
import pytest
import yaml

from bench.cli import cli
from bench.records import published
from tests.conftest import ROOT
from tests.synthetic import keep, make_record
from tests.test_readme import blocks, commands

PAGE = ROOT / "docs" / "contributing-results.md"
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
WORKFLOW = ROOT / "docs" / "examples" / "figures-again.yml"
BRANCH = "figures-again"

# https://docs.github.com/communities/using-templates-to-encourage-useful-issues-and-pull-requests
TOP = {"name", "description", "title", "labels", "assignees", "projects", "type", "body"}
ATTRIBUTES = {
    "markdown": {"value"},
    "input": {"label", "description", "placeholder", "value"},
    "textarea": {"label", "description", "placeholder", "value", "render"},
    "dropdown": {"label", "description", "multiple", "options", "default"},
    "checkboxes": {"label", "description", "options"},
}


def test_the_line_to_copy_is_one_that_the_table_takes(tmp_path):
    (block,) = blocks(PAGE, "csv")
    header, line = block.text.splitlines()
    table = ROOT / "results" / "published.csv"
    there = table.read_text(encoding="utf-8")
    assert there.splitlines()[0] == header
    (tmp_path / "published.csv").write_text(f"{there.rstrip()}\n{line}\n", encoding="utf-8")
    *_, last = published.load(tmp_path / "published.csv")
    assert last.entries and len(last.detail) > 1 and not last.second_hand and not last.comparable


def test_the_page_explains_the_columns_that_no_other_page_does():
    (block,) = blocks(PAGE, "csv")
    (row,) = csv.DictReader(io.StringIO(block.text))
    text = PAGE.read_text(encoding="utf-8") + (ROOT / "docs/leaderboard.md").read_text(encoding="utf-8")
    assert all(f"`{column}`" in text for column in row)


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_forms_have_only_keys_that_the_service_knows(form):
    said = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= said.keys() <= TOP
    ids = [element["id"] for element in said["body"] if element["type"] != "markdown"]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[\w-]+", name) for name in ids)
    for element in said["body"]:
        assert element.keys() <= {"type", "id", "attributes", "validations"}
        assert element["attributes"].keys() <= ATTRIBUTES[element["type"]]
        assert ("value" if element["type"] == "markdown" else "label") in element["attributes"]
        assert element.get("validations", {}).keys() <= {"required"}
    assert any(element["type"] != "markdown" for element in said["body"])


# --- the workflow ---


@pytest.fixture(scope="module")
def job():
    said = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert said["permissions"] == {} and len(said["jobs"]) == 1
    return said["jobs"]["figures"]


def script_of(job):
    return job["steps"][-1]["run"]


def test_the_workflow_may_do_no_more_than_it_needs_and_names_versions(job):
    assert job["permissions"] == {"contents": "write", "pull-requests": "write"}
    assert "github.repository ==" in job["if"] and job["timeout-minutes"] <= 60
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[\w-]+@v\d+", name) for name in used)
    assert not (ROOT / ".github" / "workflows" / WORKFLOW.name).exists()  # an example, which runs in no fork


def test_its_commands_are_those_of_the_program(job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("work/new", "results"):
        (tmp_path / folder).mkdir(parents=True)
    script = re.sub(r" \|\| code=\$\?| #.*", "", script_of(job)).replace("$work", "work")
    names = []
    for name, *arguments in commands(script.replace("\n          bench", "\nbench")):
        try:
            cli.commands[name].make_context(name, arguments)
        except click.UsageError as error:
            pytest.fail(f"bench {name} {shlex.join(arguments)}\n{error.format_message()}")
        names.append(name)
    assert names == ["list", "run", "check", "report"]


STANDS_IN = """#!/bin/sh
# `run` and `report` take long: what they would write is here already, or follows from the records alone
here=$1
case $here in
  run) while [ "$1" != --results ]; do shift; done; mkdir -p "$2"; cp -R "$PREPARED/." "$2" ;;
  report) mkdir -p site; find results -name '*.json' | sort | xargs cat > site/index.html ;;
  list) ;;
  *) exec "$PYTHON" -m bench "$@" ;;
esac
"""
RECORDER = """#!/bin/sh
echo "$@" >> "$CALLS"
case $2 in list) cat "$OPEN" ;; esac
"""


@pytest.fixture
def again(job, tmp_path):
    """Run the script in a checkout whose record says 44.2, after a run that says another figure; what `gh` was told."""
    work, programs, remote = tmp_path / "checkout", tmp_path / "programs", tmp_path / "remote.git"
    keep(work / "results", make_record(value=44.2))
    for name, text in (("bench", STANDS_IN), ("gh", RECORDER)):
        programs.mkdir(exist_ok=True)
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "open").write_text("")
    (tmp_path / "calls").write_text("")
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "PREPARED": str(tmp_path / "prepared"),
        "CALLS": str(tmp_path / "calls"),
        "OPEN": str(tmp_path / "open"),
        "BASE": "main",
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GITHUB_ACTIONS": "",
    }

    def call(*words):
        done = subprocess.run(
            words, cwd=work, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    subprocess.run(["git", "init", "--quiet", "--bare", str(remote)], check=True, env=environment)
    call("bench", "report")
    call("git", "init", "--quiet", "--initial-branch", "main")
    call("git", "config", "user.name", "somebody")
    call("git", "config", "user.email", "somebody@example.org")
    call("git", "add", "--all")
    call("git", "commit", "--quiet", "--message", "records")
    call("git", "remote", "add", "origin", str(remote))

    def run(value):
        keep(tmp_path / "prepared", make_record(value=value, created="2029-01-01T00:00:00+00:00"))
        call("git", "switch", "--quiet", "main")
        (tmp_path / "calls").write_text("")
        out = call("bash", "-c", script_of(job))
        branches = call("git", "ls-remote", "--heads", "origin")
        return out, (tmp_path / "calls").read_text().splitlines(), branches

    return run


@pytest.mark.slow
def test_it_opens_a_pull_request_where_a_figure_moved_and_only_there(again, tmp_path):
    out, calls, branches = again(44.2)
    assert "nothing moved" in out and calls == [] and branches == ""
    out, calls, branches = again(40.0)
    assert BRANCH in branches and [line.split()[:2] for line in calls] == [["pr", "list"], ["pr", "create"]]
    assert f"--base main --head {BRANCH}" in calls[1] and "3 files changed" in out


@pytest.mark.slow
@pytest.mark.long
def test_a_pull_request_that_is_open_is_not_opened_again(again, tmp_path):
    (tmp_path / "open").write_text("7\n")
    _, calls, branches = again(40.0)
    assert BRANCH in branches and [line.split()[:2] for line in calls] == [["pr", "list"]]
