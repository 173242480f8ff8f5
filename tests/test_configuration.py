"""bench.toml: one of a folder never leads out of it, the user's own may; its keys are the names of the flags."""

import json
from pathlib import Path

import click
import pytest

from bench.base.errors import WrongName
from bench.base.toml_files import LARGEST
from bench.cli import cli
from bench.cli.configuration import Source, default_map
from bench.cli.parameters import DataRoot, Deliberate, NameOrPath, Place
from bench.doctor import examine
from bench.doctor.probe import Probed
from tests.terminal import bench, said

OPTIONS = [(name, option) for name, command in cli.commands.items() for option in command.params]
OPTIONS = [(name, option) for name, option in OPTIONS if isinstance(option, click.Option)]
PLACES = [(name, option) for name, option in OPTIONS if isinstance(option.type, (Place, NameOrPath))]
PLACES = [(name, option) for name, option in PLACES if not isinstance(option.type, DataRoot)]


def flag_of(option):
    return next(flag for flag in option.opts if flag.startswith("--")).lstrip("-")


def names(pairs):
    return [f"{name}-{flag_of(option)}" for name, option in pairs]


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A current folder, a home and a configuration, beside each other."""
    for name in ("work", "home/.config/bench"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME")


def write(text, path="bench.toml"):
    Path(path).write_text(text, encoding="utf-8")


# --- a folder's configuration ---


def test_every_option_that_takes_a_path_says_so():
    """Else the rule below would not reach it."""
    plain = [f"{name} {flag_of(option)}" for name, option in OPTIONS if type(option.type) is click.Path]
    assert not plain
    writing = {(name, flag_of(option)) for name, option in PLACES if getattr(option.type, "writes", False)}
    named = {("report", "out"), ("check", "summary"), ("train", "out"), ("priors", "out"), ("export", "out")}
    named |= {("init-dataset", "out"), ("show", "pictures"), ("run", "save-predictions")}
    assert named <= writing
    assert {name for name, flag in writing if flag == "cache"} >= {"run", "score", "download", "priors", "train"}
    assert {name for name, flag in writing if flag == "results"} >= {"run", "score", "report", "check"}


@pytest.mark.parametrize(("command", "option"), PLACES, ids=names(PLACES))
@pytest.mark.parametrize("place", ["absolute", "above", "home", "link"])
def test_no_path_of_a_folder_s_configuration_leads_out_of_it(command, option, place, tmp_path):
    Path("link").symlink_to(tmp_path / "home")
    path = {"absolute": f"{tmp_path}/home/x.md", "above": "../x.md", "home": "~/x.md", "link": "link/x.md"}[place]
    write(f"[{command}]\n{flag_of(option)} = '{path}'\n")
    said(bench("list", "models"), 2, f"bench.toml: [{command}] {flag_of(option)} = '{path}' leads out of its folder",
         f"--{flag_of(option)} on the command line", f"{tmp_path}/home/.config/bench/bench.toml")  # fmt: skip


@pytest.mark.parametrize("key", ["results", "cache"])
def test_nor_does_a_setting_of_all_commands(key):
    write(f'{key} = "../elsewhere"\n')
    said(bench("report"), 2, f"bench.toml: {key} = '../elsewhere' leads out of its folder")


def test_a_file_of_the_home_folder_is_not_overwritten(tmp_path):
    startup = tmp_path / "home/.bashrc"
    startup.write_text("mine")
    write(f'[report]\nout = "{startup}"\nformat = "csv"\n')
    assert bench("report").returncode == 2 and startup.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (".envrc", "writes a hidden file"),
        (".git/hooks/post-commit", "writes a hidden file"),
        ("setup.py", "replaces a file that bench does not write"),
    ],
)
def test_inside_it_writes_no_hidden_file_and_replaces_no_program(name, says):
    Path("setup.py").write_text("mine")
    write(f'[report]\nout = "{name}"\nformat = "csv"\n')
    said(bench("report"), 2, says)
    assert Path("setup.py").read_text() == "mine"
    Path("bench.toml").unlink()
    given = bench("report", "--out", "setup.py", "--format", "csv")  # a flag may do all
    assert given.returncode == 0 and Path("setup.py").read_text() != "mine"


def test_inside_it_may_name_what_bench_writes_again_and_again():
    write('results = "records"\n[report]\nout = "tables/board.md"\n[run]\nmodel = ["random-shapes"]\n')
    for _ in range(2):
        done = bench("report")
        assert done.returncode == 0 and "# Leaderboard" in Path("tables/board.md").read_text(encoding="utf-8")


def test_reading_it_is_said_and_json_stays_clean(tmp_path):
    write("[list]\njson = true\n")
    done = bench("list", "models")
    assert done.stderr == "reading ./bench.toml\n" and json.loads(done.stdout)
    Path("bench.toml").rename(tmp_path / "home/.config/bench/bench.toml")
    done = bench("list", "models")
    assert not done.stderr and json.loads(done.stdout)


@pytest.mark.parametrize(("command", "flag"), [("download", "repin"), ("download", "yes"), ("init-dataset", "force")])
def test_it_lifts_no_protection(command, flag):
    assert isinstance(dict((flag_of(o), o) for n, o in OPTIONS if n == command)[flag], Deliberate)
    write(f"[{command}]\n{flag} = true\n")
    said(bench("list", "models"), 2, f"[{command}] {flag} lifts a protection")


def test_data_may_lie_anywhere():
    write('[data_roots]\nshapes = "/no/where"\n')
    said(bench("run", "--model", "random-shapes", "--dry-run"), 3, "no data root at /no/where")


# --- the user's own ---


def test_the_user_s_own_configuration_may_do_all(tmp_path):
    write(f'[report]\nout = "{tmp_path}/board.md"\n', tmp_path / "home/.config/bench/bench.toml")
    assert bench("report").returncode == 0 and (tmp_path / "board.md").is_file()


def test_it_goes_after_the_folder_s_which_goes_after_variable_and_flag(tmp_path, monkeypatch):
    write('results = "own"\ncache = "own"\n', tmp_path / "home/.config/bench/bench.toml")
    write('results = "here"\n')

    def settings(*given):
        return {entry["name"]: entry for entry in json.loads(bench("doctor", "--json", *given).stdout)["settings"]}

    monkeypatch.setattr(examine, "probe", lambda modules: Probed())
    monkeypatch.delenv("BENCH_CACHE")
    found = settings()
    assert (found["results"]["value"], found["results"]["source"]) == ("here", "bench.toml")
    assert (found["cache"]["value"], found["cache"]["source"]) == ("own", f"{tmp_path}/home/.config/bench/bench.toml")
    monkeypatch.setenv("BENCH_RESULTS", "variable")
    assert settings()["results"]["value"] == "variable"
    assert settings("--results", "flag")["results"]["value"] == "flag"


def test_it_lies_where_xdg_config_home_says_if_that_is_a_whole_path(tmp_path, monkeypatch):
    (tmp_path / "elsewhere/bench").mkdir(parents=True)
    write("[list]\njson = true\n", tmp_path / "elsewhere/bench/bench.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    assert json.loads(bench("list", "models").stdout)
    monkeypatch.setenv("XDG_CONFIG_HOME", "../elsewhere")
    assert bench("list", "models").stdout.startswith("ID")


def test_a_file_that_the_environment_names_is_the_user_s(tmp_path, monkeypatch):
    write(f'[report]\nout = "{tmp_path}/board.md"\n', tmp_path / "mine.toml")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "mine.toml"))
    done = bench("report")
    assert done.returncode == 0 and "reading" not in done.stderr and (tmp_path / "board.md").is_file()


# --- keys and values ---


def value_of(option):
    return True if option.is_flag else "1"


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=names(OPTIONS))
def test_a_setting_has_the_flag_s_name(command, option):
    flag = flag_of(option)
    for key in {flag, flag.replace("-", "_")}:
        found = default_map(cli.commands, [Source(Path("x"), {command: {key: value_of(option)}}, own=True)])
        expected = value_of(option)
        assert found[command] == {option.name: (expected,) if option.multiple else expected}


INNER = [(n, o) for n, o in OPTIONS if o.name not in [flag.lstrip("-").replace("-", "_") for flag in o.opts]]


@pytest.mark.parametrize(("command", "option"), INNER, ids=names(INNER))
def test_a_name_that_only_the_program_uses_is_refused_with_the_flag_s(command, option):
    taken = {flag.lstrip("-").replace("-", "_") for name, o in OPTIONS if name == command for flag in o.opts}
    if option.name in taken:
        return  # another option's flag
    with pytest.raises(WrongName) as caught:
        default_map(cli.commands, [Source(Path("x"), {command: {option.name: value_of(option)}}, own=True)])
    assert f"has no option '{option.name}'" in caught.value.problem
    assert any(flag.lstrip("-") in caught.value.remedy for flag in option.opts)


def test_a_report_s_format_is_called_format():
    write('[report]\nformat = "csv"\n')
    assert bench("report").stdout.startswith("kind,dataset,")
    write('[report]\nform = "csv"\n')
    said(bench("report"), 2, "[report] has no option 'form'", "It is called format.")
    write("[priors]\nno-clean-up = true\n")
    said(bench("report"), 2, "[priors] has no option 'no-clean-up'", "Write clean-up = false.")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("workers = true", "workers must be text or a number"),
        ("workers = {a = 1}", "workers must be text or a number"),
        ("model = [[1]]", "model must be text or a number, or a list of such"),
        ("device = ['cpu']", "device must be text or a number"),
        ("crf = 'yes'", "crf must be true or false"),
        ("workers = 0", "'--workers'"),
        ("limt = 3", "has no option 'limt'"),
    ],
)
def test_a_value_of_a_wrong_kind_names_its_key(line, says):
    write(f"[run]\n{line}\n")
    said(bench("run", "--dry-run"), 2, says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"x = " + b"[" * 500 + b"]" * 500, "it is nested too deeply"),
        (b"x = " + b"{a=" * 500 + b"1" + b"}" * 500, "it is nested too deeply"),
        (b'cache = "a\\u0000b"', "cache has a NUL character"),
        (b"[run]\nlimit = 0x" + b"f" * 50_000, "run has a number beyond 64 bits"),
        (b"[run]\nlimit = " + b"9" * 5_000, "it has a number beyond 64 bits"),
        (b"cache = '\0'", "is not a TOML file"),
        (b"# \xff", "is not a TOML file"),
        (b"x = " + b"9" * 5000, "is not a TOML file"),
        (b"#" * (LARGEST + 1), "it is larger than 1 MiB"),
        (b'cache = "~no-such-user-here/x"', "there is no home folder of that name"),
        (b'[data_roots]\nshapes = "~no-such-user-here/x"', "there is no home folder of that name"),
    ],
)
def test_what_is_no_settings_file_is_said(content, says):
    Path("bench.toml").write_bytes(content)
    said(bench("list", "models"), 2, "bench.toml", says)


def test_a_byte_order_mark_is_skipped():
    Path("bench.toml").write_bytes(b"\xef\xbb\xbf[list]\njson = true\n")
    assert json.loads(bench("list", "models").stdout)
