"""Python: a factory of the user's own, in a module of the current folder or one that is installed."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.base.errors import BadInput, BenchError, WrongName
from bench.networks.libraries.found import short
from bench.networks.libraries.library import Library
from bench.networks.libraries.options import no_stride, require_takes, spelled
from bench.networks.libraries.request import Request
from bench.networks.libraries.sources import Fetch

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
CACHE_KEY = "cache_key"
"""The user's word that what the factory computes never changes while this text does not."""
_NAME = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)")


class Python(Library):
    """`python:my_package.models:build?arg=value`."""

    scheme, package, module, title = "python", "torch", "torch", "a factory of your own"

    def list_all(self) -> dict[str, str]:
        """Any function may be a factory."""
        return {}

    def check(self, request: Request) -> None:
        """The form of the name; the module is imported when the network is built."""
        if not _NAME.fullmatch(request.name) or request.revision is not None:
            raise WrongName(
                f"'{request.text}' names no factory", "Write python:MODULE:FUNCTION, such as python:my_models:build."
            )

    def files(self, request: Request) -> Sequence[Path]:
        """Only the factory knows where its weights are: they are told apart by their values."""
        return ()

    def fetch_more(self, request: Request, fetch: Fetch) -> None:
        """Call the factory once, with the network: it may fetch its weights itself."""
        self.build(request, (), None)

    def page(self, request: Request) -> str:
        """It has none."""
        return request.name

    def definite(self, request: Request) -> bool:
        """A function may do anything."""
        return False

    def cacheable(self, request: Request) -> bool:
        """Where the user gives a key: together with the hash of the weights."""
        return CACHE_KEY in request.options

    def outline(self, request: Request) -> nn.Module:
        """As the factory makes it."""
        return self.build(request, (), None)

    def build(self, request: Request, files: Sequence[Path], output_stride: int | None) -> nn.Module:
        """What the factory returns."""
        if output_stride is not None:
            raise no_stride(request, output_stride, ", or give the factory an option of its own")
        factory = _find(request)
        options = {key: value for key, value in request.options.items() if key != CACHE_KEY}
        module = call(request, factory, options)
        if files:
            from bench.networks.libraries.state_files import load_state

            if note := load_state(module, files[0]):
                request.warn(f"{files[0].name}: {note}")
        return module


def _find(request: Request) -> Callable[..., Any]:
    """The factory. Raises WrongName where there is no such module or function, with the nearest names."""
    match = _NAME.fullmatch(request.name)
    assert match is not None
    with _here():
        found: Any = importing(request, match["module"], lambda: importlib.import_module(match["module"]))
    place = match["module"]
    for part in match["attribute"].split("."):
        if not hasattr(found, part):
            names = [name for name, one in vars(found).items() if callable(one) and not name.startswith("_")]
            near = difflib.get_close_matches(part, names, n=3)
            guess = (
                f"Did you mean {' or '.join(near)}?" if near else f"It has {', '.join(names[:8]) or 'no functions'}."
            )
            raise WrongName(f"{place} ({getattr(found, '__file__', 'built in')}) has no '{part}'", guess)
        found, place = getattr(found, part), f"{place}.{part}"
    if not callable(found):
        raise WrongName(f"{place} is a {type(found).__name__}, not a factory", "Name a function that returns a module.")
    factory: Callable[..., Any] = found
    return factory


@contextmanager
def _here() -> Iterator[None]:
    """Modules of the current folder are found, before those that are installed, as `python -m` has it."""
    here = os.getcwd()  # noqa: PTH109  # as sys.path has it
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def importing(request: Request, name: str, load: Callable[[], T]) -> T:
    """What `load` imports. Raises WrongName where there is no such module, BadInput for what is wrong in it."""
    try:
        return load()
    except BenchError:
        raise
    except ModuleNotFoundError as error:
        lacks = error.name or ""
        if f"{name}.".startswith(f"{lacks}."):
            raise WrongName(
                f"there is no Python module '{lacks}' in the current folder, nor is one installed",
                f"Call bench from the folder that has it, set PYTHONPATH, or install it: {request.text} is not found.",
            ) from error
        raise BadInput(
            f"{name} of {request.text} needs the Python module '{lacks}', which is not installed", "Install it."
        ) from error
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"importing {name} of {request.text} failed: {short(error)}{_where(error)}", "Correct the module."
        ) from error


def call(request: Request, factory: Callable[..., Any], options: dict[str, Any]) -> nn.Module:
    """The network that a factory returns.

    Raises WrongName for options that it does not take, BadInput where it fails or returns something else.
    """
    from torch import nn

    require_takes(request, factory, options)
    try:
        module = factory(**options)
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        given = spelled(options)
        raise BadInput(
            f"{request.text} failed: {short(error)}{_where(error)}",
            f"Correct the function, or its options ({given})." if given else "Correct the function.",
        ) from error
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise BadInput(
            f"{request.text} returned the class {module.__name__}, not a network", "Return an instance of it."
        )
    if not isinstance(module, nn.Module):
        raise BadInput(
            f"{request.text} returned a {type(module).__name__}, not a torch.nn.Module", "Have it return the network."
        )
    return module


def _where(error: BaseException) -> str:
    """The last line of the user's code that an error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(__file__).parent)
    theirs = [one for one in frames if not one.filename.startswith((ours, "<frozen"))]
    return f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
