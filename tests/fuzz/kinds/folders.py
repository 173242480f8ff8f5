"""Folders of images and masks as people have them, for `bench init-dataset`; and the card that it writes."""

from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from tests.fuzz import mutators
from tests.fuzz.kind import Done, Kind, command
from tests.fuzz.kinds.data import put_data
from tests.fuzz.kinds.pictures import change_chunks
from tests.fuzz.world import World, rename

NAME_FILES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\none:128,0,0::\ntwo:0,128,0::\n",
    "class_dict.csv": "name,r,g,b\nbackground,0,0,0\none,128,0,0\ntwo,0,128,0\n",
    "_classes.csv": "Pixel Value, Class\n0, background\n1, one\n2, two\n",
    "labels.txt": "background\none\ntwo\n",
    "classes.json": '{"0": "background", "1": "one", "2": "two"}',
}
ENDINGS = (".jpeg", ".JPG", "_mask.png", ".tif", ".bmp", ".txt", "")
MODES = ("L", "1", "RGB", "RGBA", "I;16", "P", "LA")


class Folders(Kind):
    name = "folders"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        put_data(world)

    def put(self) -> None:
        self.put_copy()

    def damage(self, random: Random) -> str:
        data, done = self.world.place / "data", []
        for _ in range(random.choice((1, 1, 2, 4))):
            files = [path for path in sorted(data.rglob("*")) if path.is_file() and not path.is_symlink()]
            done.append(self._once(random, data, random.choice(files)))
        return "+".join(done)[:300]

    def _once(self, random: Random, data: Path, path: Path) -> str:
        way = random.randrange(7)
        if way == 0:
            return rename(random, path)
        if way == 1:
            return _as_another_mode(random, path)
        sound = self.world.sound / path.relative_to(self.world.place)
        if way == 2 and path.suffix == ".png" and sound.is_file():
            how, content = change_chunks(random, sound.read_bytes())
            path.write_bytes(content)
            return how
        if way == 3:
            name = random.choice(list(NAME_FILES))
            how, content = mutators.changed(random, NAME_FILES[name].encode(), mutators.TEXTS)
            (random.choice((data, path.parent)) / name).write_bytes(content)
            return f"{name}: {how}"
        if way == 4:
            other = path.with_name(path.stem + random.choice(ENDINGS))
            other.write_bytes(path.read_bytes())
            return f"a copy {other.name}"
        if way == 5:
            (path.parent / "again").unlink(missing_ok=True)
            (path.parent / "again").symlink_to(random.choice((".", "..", path.name, "/dev", str(self.world.canary))))
            return "a link to a folder"
        return self.damage_file(random, path, special=0.2)

    def use(self, random: Random) -> Done:
        card = self.world.out / "card.toml"
        options = random.choice(((), (), ("--without-labels",), ("--every",)))
        done = command("init-dataset", "data", "--out", card, *options)
        return command("show", card, "--samples", 100) if done.ok else done


def _as_another_mode(random: Random, path: Path) -> str:
    mode = random.choice(MODES)
    values = np.random.default_rng(random.randrange(2**32)).integers(0, random.choice((2, 3, 256)), (20, 24))
    picture = Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.uint8))
    (picture if mode == "I;16" else picture.convert(mode)).save(path.with_suffix(".png"))
    return f"{path.stem}.png of mode {mode}"
