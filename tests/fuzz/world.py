"""World: the folders that a worker's inputs live in, and what the program did to them."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

NAMES = (
    os.fsdecode(b"\xff\xfe"), "a\nb", "a\x1b[2Jb", "::error::x", "\u202etxt", "e\u0301", " ", "-x", "~", "{id}",
    "x" * 200, "a b", "%s", "<b>",
)  # fmt: skip
"""Names that a file may have."""


DEVICES = ("/dev/null", "/dev/full", "/dev/zero")
"""What a program run by root could put a file in the place of."""


class World:
    """`place` holds the input and is the current folder; `out` and `cache` may be written; nothing else may."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place, self.out, self.cache = root / "place", root / "out", root / "cache"
        self.home, self.canary, self.temporary, self.sound = (
            root / "home", root / "canary", root / "temporary", root / "sound",
        )  # fmt: skip
        for folder in (self.place, self.out, self.cache, self.home, self.canary, self.temporary, self.sound):
            folder.mkdir(parents=True)
        for name in ("x", "secret.txt", "bench.toml"):
            (self.canary / name).write_text("not to be written\n")
        (self.home / ".bashrc").write_text("# not to be written\n")

    def settle(self) -> None:
        """This process lives here: its home, its caches, its current folder."""
        for name in [name for name in os.environ if name.startswith(("BENCH_", "GITHUB_", "XDG_"))]:
            del os.environ[name]
        os.environ |= {"HOME": str(self.home), "TMPDIR": str(self.temporary), "BENCH_CACHE": str(self.cache)}
        # else it would be the checkout's own folder
        os.environ |= {"BENCH_RESULTS": str(self.place / "results"), "XDG_CACHE_HOME": str(self.cache / "xdg")}
        os.chdir(self.place)

    def clear(self) -> None:
        """Empty what an input had."""
        for folder in (self.place, self.out, self.temporary):
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    Path(entry.path).unlink()
        os.chdir(self.place)

    def seen(self, free: tuple[str, ...]) -> dict[str, tuple[object, ...]]:
        """All there is outside of the folders that may be written, with what would show that it was changed."""
        found: dict[str, tuple[object, ...]] = {}
        folders = [entry.path for entry in os.scandir(self.root) if entry.name not in free]
        while folders:
            for entry in os.scandir(folders.pop()):
                status = entry.stat(follow_symlinks=False)
                kept = (status.st_mode, status.st_size, status.st_mtime_ns)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    kept = (status.st_mode,)
                found[os.path.relpath(entry.path, self.root)] = kept
        return found | {device: (Path(device).lstat().st_mode,) for device in DEVICES}


def touched(before: dict[str, tuple[object, ...]], after: dict[str, tuple[object, ...]]) -> str | None:
    """What lies there now and did not before, or is not as it was; None where nothing is."""
    differing = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return f"wrote outside of what was named: {', '.join(differing[:5])!r}" if differing else None


# --- what may lie where a file is expected ---


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


@dataclass(frozen=True)
class Special:
    name: str
    put: Callable[[Path], None]


SPECIALS = (
    Special("a pipe", os.mkfifo),
    Special("a folder", Path.mkdir),
    Special("a link to /dev/zero", _link("/dev/zero")),
    Special("a link to /dev/null", _link("/dev/null")),
    Special("a link to /dev/full", _link("/dev/full")),
    Special("a link to nothing", _link("gone")),
    Special("a link to a pipe in /proc", _link("/proc/self/fd/0")),
)


def put_special(random: Random, path: Path) -> str:
    """Put something that is no regular file in a file's place; returns what."""
    path.unlink()
    if random.random() < 0.2:
        path.symlink_to(path.name)
        return "a link to itself"
    special = random.choice(SPECIALS)
    special.put(path)
    return special.name


def rename(random: Random, path: Path) -> str:
    """Give a file a name that people do not expect."""
    name = random.choice(NAMES) + random.choice((path.suffix, path.suffix, path.suffix.upper(), ""))
    path.rename(path.with_name(name))
    return f"renamed to {name!r:.40}"


def keep(place: Path, target: Path) -> None:
    """Copy an input for people to look at: files and links, nothing else."""
    shutil.rmtree(target, ignore_errors=True)
    for entry in sorted(place.rglob("*")):
        goal = target / entry.relative_to(place)
        goal.parent.mkdir(parents=True, exist_ok=True)
        if entry.is_symlink():
            goal.symlink_to(entry.readlink())
        elif entry.is_file():
            shutil.copy(entry, goal)
