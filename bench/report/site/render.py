"""Render: the template environment of the pages. Everything is escaped, and a missing name is an error."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape

from bench._version import __version__
from bench.base.escaping import HARMLESS, printable
from bench.base.templating import environment
from bench.report.site.content import Site
from bench.report.site.facets import facets_of_row, plain
from bench.report.site.names import points
from bench.scoring.metric_names import metric_name

_HASH = re.compile(r"\b[0-9a-f]{32,128}\b")
_CODE_OR_HASH = re.compile(rf"`[^`]+`|{_HASH.pattern}")
_SHORT = 12
"""Digits of a hash that are shown before it is opened."""
LONG_WORD = 30
"""Characters; a longer word would make a column of a table too wide."""


def name(text: object) -> Markup:
    """A name of anybody's, escaped: its direction is its own, and a word as long as a line may break anywhere."""
    shown = text if isinstance(text, Markup) else escape(printable(text, keep=HARMLESS))
    if max(map(len, shown.split()), default=0) > LONG_WORD:
        return Markup('<bdi class="long">{}</bdi>').format(shown)
    return shown if shown.isascii() else Markup("<bdi>{}</bdi>").format(shown)


def prose(text: str) -> tuple[list[Markup], list[str]]:
    """A card's text as paragraphs, escaped, with code between backticks; and the hashes that are cut short in it."""
    hashes = list(dict.fromkeys(_HASH.findall(text)))
    return [_paragraph(part) for part in re.split(r"\n\s*\n", text.strip()) if part], hashes


def _paragraph(text: str) -> Markup:
    short = _CODE_OR_HASH.sub(_cut_short, text)
    pieces = re.split(r"`([^`]+)`", " ".join(short.split()))  # every second one stood between backticks
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(piece) if n % 2 else name(piece) for n, piece in enumerate(pieces))


def _cut_short(found: re.Match[str]) -> str:
    """A hash as code, or code with its hashes, cut short."""
    short = _HASH.sub(lambda one: f"{one[0][:_SHORT]}…", found[0])
    return short if short.startswith("`") else f"`{short}`"


class Renderer:
    """Renders pages of one site."""

    def __init__(self, site: Site) -> None:
        filters: dict[str, Callable[..., Any]] = {
            "name": name,
            "prose": prose,
            "points": points,
            "two": lambda value: f"{value:.2f}",
            "signed": lambda value: f"{value:+.2f}".replace("-", "−"),
            "metric_name": metric_name,
            "run_url": site.url_of,
            "plain": plain,
            "facets": lambda row: facets_of_row(row.entry),
        }
        self._environment = _environment()
        self._environment.filters.update(filters)
        self._environment.tests["a_hash"] = lambda value: bool(_HASH.fullmatch(str(value)))
        self._environment.globals.update({"version": __version__, "updated": site.updated, "only": site.only.said})

    def page(self, template: str, url: str, section: str, **context: Any) -> bytes:
        """A page's bytes. `url` is where it lies below the site's root, `section` the part of the site it is in."""
        root = "../" * url.count("/")
        text = self._environment.get_template(f"{template}.html.j2").render(
            root=root, here=url, section=section, **context
        )
        return text.encode()


@functools.cache
def _environment() -> Environment:
    return environment("report/templates/site", escape=True)


def script(name: str, lines: list[list[str]]) -> bytes:
    """A JavaScript file that sets a global to lists of printable texts; nothing in it can end a script or a line."""
    value = [[printable(text) for text in line] for line in lines]
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    return f"window.{name}={text};\n".encode()
