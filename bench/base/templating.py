"""Templates, and the one way they are rendered: a missing name is an error, and nothing printed acts on its reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.base.escaping import HARMLESS, printable

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(folder: str, *, escape: bool) -> Environment:
    """What finds and renders the templates of a folder of `bench`, such as `report/templates`.

    `escape` is for pages; text formats escape by filters.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("bench", folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=escape,
        keep_trailing_newline=True,
        auto_reload=False,
        finalize=_shown,
    )


def _shown(value: Any) -> Any:
    """What a template prints for a value: text as `printable` has it, its line ends kept; markup is ready as it is."""
    from markupsafe import Markup

    return printable(value, keep=HARMLESS) if isinstance(value, str) and not isinstance(value, Markup) else value
