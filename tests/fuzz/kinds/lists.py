"""Lists of samples: lines, tables, COCO's JSON; and what is found of them by `bench init-dataset`."""

from random import Random

from tests.fuzz import mutators
from tests.fuzz.kind import Done, Kind, command
from tests.fuzz.kinds.data import DATASET, NAMES, put_data
from tests.fuzz.world import World

TABLE = "id\timage\tlabel\n" + "".join(f"{name}\timages/{name}.jpg\tlabels/{name}.png\n" for name in NAMES)
WAYS = ("lines", "table", "found")


def card(listing: str, file: str, **patterns: str) -> bytes:
    files = {"list": file, "listing": listing, "image": "images/{id}.jpg", "label": "labels/{id}.png"} | patterns
    layout = {"name": "as it is", "splits": {"val": files}}
    return mutators.as_toml(DATASET | {"layouts": [layout], "downloads": []})


class Lists(Kind):
    name = "lists"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        put_data(world)
        (world.sound / "data" / "two.txt").write_text(
            "".join(f"/images/{name}.jpg /labels/{name}.png\n" for name in NAMES)
        )
        (world.sound / "table.tsv").write_text(TABLE)
        (world.sound / "lines.toml").write_bytes(card("lines", "val.txt"))
        (world.sound / "table.toml").write_bytes(card("table", "table.tsv", image="{image}", label="{label}"))
        self.way = "lines"

    def put(self) -> None:
        self.way = "lines"
        self.put_copy()

    def damage(self, random: Random) -> str:
        self.way = random.choice(WAYS)
        files = {
            "lines": "data/val.txt",
            "table": "table.tsv",
            "found": random.choice(("data/val.txt", "data/two.txt")),
        }
        return self.damage_file(random, self.world.place / files[self.way], mutators.TEXTS)

    def use(self, random: Random) -> Done:
        if self.way == "found":
            return command("init-dataset", "data", "--out", self.world.out / "card.toml")
        return command("show", f"./{self.way}.toml")


class Coco(Kind):
    name = "coco-json"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        put_data(world)
        (world.sound / "coco.toml").write_bytes(card("coco-instances", "instances.json"))
        images = [{"id": i, "file_name": f"{name}.jpg", "height": 20, "width": 24} for i, name in enumerate(NAMES)]
        annotations = [{"id": 10 + i, "image_id": i, "category_id": 1, "bbox": [1, 2, 3, 4]} for i in range(3)]
        self.tree = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "one"}]}

    def put(self) -> None:
        self.put_copy()
        self._write(self.tree)

    def _write(self, tree: object) -> None:
        (self.world.place / "data" / "instances.json").write_bytes(mutators.as_json(tree))

    def damage(self, random: Random) -> str:
        if random.random() < 0.35:
            return self.damage_file(random, self.world.place / "data" / "instances.json", mutators.TEXTS)
        how, tree = mutators.changed_tree(random, self.tree)
        self._write(tree)
        return how

    def use(self, random: Random) -> Done:
        return command("show", "./coco.toml")


class BoxFiles(Kind):
    name = "boxes"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        put_data(world)
        (world.sound / "xml.toml").write_bytes(card("lines", "val.txt", boxes="boxes/{id}.xml"))
        (world.sound / "json.toml").write_bytes(card("lines", "val.txt", boxes="instances.json"))
        corners = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
        (world.sound / "data" / "boxes").mkdir()
        for name in NAMES:
            (world.sound / "data" / "boxes" / f"{name}.xml").write_text(
                f"<annotation><object><name>a</name><difficult>0</difficult>{corners}</object></annotation>"
            )
        images = [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate(NAMES)]
        annotations = [{"id": 10 + i, "image_id": i, "iscrowd": 0, "bbox": [1.5, 2, 3, 4]} for i in range(3)]
        self.tree = {"images": images, "annotations": annotations}
        self.way = "xml"

    def put(self) -> None:
        self.way = "xml"
        self.put_copy()
        self._write(self.tree)

    def _write(self, tree: object) -> None:
        (self.world.place / "data" / "instances.json").write_bytes(mutators.as_json(tree))

    def damage(self, random: Random) -> str:
        self.way = random.choice(("xml", "json"))
        if self.way == "xml":
            return self.damage_file(random, self.world.place / "data" / "boxes" / f"{NAMES[0]}.xml", mutators.TEXTS)
        how, tree = mutators.changed_tree(random, self.tree)
        self._write(tree)
        return how

    def use(self, random: Random) -> Done:
        return command("show", f"./{self.way}.toml")
