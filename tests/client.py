"""What fetches one file from the web server of `tests.webserver`."""

import hashlib

import numpy as np

from bench.download import fetch
from bench.download.fetch import Expected
from bench.download.items import Item
from bench.download.network import Network
from bench.download.part_files import Part

DATA = np.random.default_rng(1).bytes(300_000)
SHA = hashlib.sha256(DATA).hexdigest()
NOW = 1_700_000_000.0


class Client:
    """Fetches one file from addresses of the server, and remembers what it slept and what it was told."""

    def __init__(self, folder, web):
        self.web = web
        self.path = folder / "cache" / "datasets" / "m" / "file.bin"
        self.part = Part.of(self.path)
        self.slept, self.warned, self.seen = [], [], []
        self.network = Network(
            timeout=5.0,
            sleep=self.slept.append,
            now=lambda: NOW,
            warn=self.warned.append,
            progress=lambda *step: self.seen.append(step),
        )

    def __call__(self, *paths, expected=None, size=None, file="file.bin", home="datasets/m", root=None):
        urls = tuple(path if "://" in path else self.web.url(path) for path in paths)
        item = Item("m", home, file, urls, "https://example.org/page", self.path, "CC0", bytes=size, root=root)
        return fetch.fetch(item, Expected(expected, "published", "Pin it anew.") if expected else None, self.network)

    def keep(self, data, source=None, validator='"one"', total=None):
        """A part with its journal, as a command leaves it that was interrupted."""
        self.path.parent.mkdir(parents=True)
        self.part.describe(source or self.web.url("/f"), validator, total)
        with self.part.writer(0, lambda: 0.0) as write:
            write(data)

    def whole(self):
        """The file is there, and nothing else."""
        assert self.path.read_bytes() == DATA
        assert [path.name for path in self.path.parent.iterdir()] == ["file.bin"]
        return True

    def kept(self):
        """Bytes of the part; the file itself is not there."""
        assert not self.path.exists()
        return self.part.size
