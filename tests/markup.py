"""Pages as trees, for tests: what is not well-formed raises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "img", "br", "hr"}
SHAPES = {"circle", "line", "rect", "use", "path"}
"""SVG elements that close themselves."""


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parts: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its text, with white space as it is shown."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for part in self.parts:
            if isinstance(part, str):
                yield part
            else:
                # a cell's small print stands on a line of its own
                yield from (" ", *part._texts()) if part.tag in ("small", "span", "code") else part._texts()

    def walk(self) -> Iterator[Element]:
        yield self
        for part in self.parts:
            if isinstance(part, Element):
                yield from part.walk()

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Elements below of a tag whose attributes have these words; `class_` stands for `class`."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [
            element
            for element in self.walk()
            if element.tag == tag
            and all(value in element.attributes.get(key, "").split() for key, value in wanted.items())
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        (element,) = self.all(tag, **attributes)
        return element


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attributes})
        self.open[-1].parts.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        assert tag in VOID | SHAPES, f"<{tag}/> does not close itself"
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}> at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].parts.append(data)


def parse(text: str) -> Element:
    """The tree of a page: tags closed in order, no attribute and no id twice."""
    builder = _Builder()
    builder.feed(text)
    builder.close()
    assert builder.open == [builder.root], f"<{builder.open[-1].tag}> is never closed"
    ids = [element.attributes["id"] for element in builder.root.walk() if "id" in element.attributes]
    assert len(ids) == len(set(ids)), "an id occurs twice"
    return builder.root


def cells(table: Element) -> list[list[str]]:
    """The texts of the bodies of a table, row by row."""
    rows = [row for body in table.all("tbody") for row in body.all("tr")]
    return [[cell.text for cell in row.parts if isinstance(cell, Element)] for row in rows]
