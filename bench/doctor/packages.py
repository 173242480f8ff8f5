"""Packages: what this version of `bench` requires, and what is installed."""

from __future__ import annotations

import configparser
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from bench.doctor.findings import Finding

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NAME = "maskcontrast-bench"
USES = {
    "timm": "`--model timm:…`",
    "hf": "`--model hf:…`",
    "crf": "`bench run --crf`",
    "train": "`bench priors --method boundary`, and TensorBoard's curves of `bench train`",
}
"""What an extra is for."""
_DEVELOPERS = ("test",)
_MODULES = {"scikit-learn": "sklearn", "pillow": "PIL", "opencv-python-headless": "cv2"}
"""Distribution → the module that it is imported as, where the name does not say."""
_TWINS = {
    "faiss": ("faiss-gpu", "faiss-cpu", "faiss", "faiss-gpu-cu12", "faiss-gpu-cu11"),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
}
"""Module → distributions that all bring it."""
_OPTIONAL = ("torchvision",)
"""Required, so that an ordinary install has them, but imported by no command."""


@dataclass(frozen=True)
class Package:
    """A distribution that is needed, and what there is of it."""

    name: str
    needs: str
    """As in `>=2.4`; empty for any version."""
    installed: str | None
    """The version; None where it is not installed."""
    fits: bool
    """Whether the installed version is one of those needed; true where none is installed."""
    extra: str | None = None
    """The extra that needs it; None where everything does."""

    @property
    def module(self) -> str:
        """What it is imported as."""
        return module_of(self.name)

    @property
    def optional(self) -> bool:
        """Whether everything works without it."""
        return self.name in _OPTIONAL

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.name}{self.needs}"


def module_of(name: str) -> str:
    """What a distribution is imported as."""
    twins = [module for module, names in _TWINS.items() if name in names]
    return twins[0] if twins else _MODULES.get(name, name.replace("-", "_"))


def twins_of(name: str) -> tuple[str, ...]:
    """The distributions that bring the same module, this one among them."""
    return next((names for names in _TWINS.values() if name in names), (name,))


def installed(name: str) -> str | None:
    """A distribution's version; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Needs:
    """What the running version of `bench` says that it requires."""

    python: str
    packages: tuple[Package, ...]

    def extras(self) -> list[str]:
        """The extras that are for users, in order."""
        return [name for name in dict.fromkeys(p.extra for p in self.packages) if name and name not in _DEVELOPERS]


def needs(checkout: Path | None) -> Needs:
    """What is required on this platform: by setup.cfg where `bench` runs from a checkout, else as installed.

    Raises ImportError where `packaging` is missing, PackageNotFoundError where neither is there.
    """
    if checkout is None:
        about = metadata.metadata(NAME)
        extras = about.get_all("Provides-Extra") or []
        return Needs(str(about["Requires-Python"]), tuple(_packages(metadata.requires(NAME) or [], extras)))
    config = configparser.ConfigParser()
    config.read(checkout / "setup.cfg", encoding="utf-8")
    packages = list(_packages(config["options"]["install_requires"].split("\n"), ()))
    for extra, text in config["options.extras_require"].items():
        packages += [replace(package, extra=extra) for package in _packages(text.split("\n"), ())]
    return Needs(config["options"]["python_requires"], tuple(packages))


def _packages(lines: Iterable[str], extras: Iterable[str]) -> Iterable[Package]:
    """The requirements that hold on this platform, with the extra, if any, that brings each in."""
    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in filter(None, map(str.strip, lines))]
    for requirement in requirements:
        if requirement.name == NAME:
            continue  # an extra that takes in others
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package(_as_installed(requirement, requirements), None)
            continue
        yield from (_package(requirement, e) for e in extras if requirement.marker.evaluate({"extra": e}))


def _as_installed(requirement: Requirement, requirements: Iterable[Requirement]) -> Requirement:
    """What stands in for a distribution that is not installed: a twin, under the conditions stated for it, if any."""
    from packaging.requirements import Requirement as Parsed

    twins = [name for name in _TWINS.get(module_of(requirement.name), ()) if installed(name)]
    if requirement.name in twins or len(twins) != 1:
        return requirement
    return next((other for other in requirements if other.name == twins[0]), Parsed(twins[0]))


def _package(requirement: Requirement, extra: str | None) -> Package:
    version = installed(requirement.name)
    fits = version is None or requirement.specifier.contains(version, prereleases=True)
    return Package(requirement.name, str(requirement.specifier), version, fits, extra)


def python_problem(needed: str) -> Finding | None:
    """Whether this Python is too old."""
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(needed).contains(platform.python_version(), prereleases=True):
        return None
    return Finding(f"Python {platform.python_version()} does not fit ({needed} is needed)", "Use a newer Python.")


def problems(packages: Iterable[Package], failures: Mapping[str, str]) -> list[Finding]:
    """What is wrong with the packages that everything needs; `failures` are modules that do not import, and why."""
    needed = [package for package in packages if package.extra is None and not package.optional]
    return list(filter(None, (_finding(package, failures) for package in needed)))


def notes(packages: Iterable[Package], failures: Mapping[str, str]) -> list[Finding]:
    """The same of the packages that nothing needs."""
    optional = [package for package in packages if package.extra is None and package.optional]
    found = filter(None, (_finding(package, failures) for package in optional))
    return [Finding(finding.what, "It is optional: no command imports it.") for finding in found]


def _finding(package: Package, failures: Mapping[str, str]) -> Finding | None:
    """What is wrong with a package, and what mends it."""
    failure = failures.get(package.module)
    twins = _installed_twins(package.module)
    if len(twins) > 1:
        return _twin_finding(package, twins, failure)
    if failure and not twins and package.installed is None:
        return Finding(f"{package.name} is not installed", f"pip install '{package.requirement}'")
    if failure:
        what = f"{package.module} does not import: {failure}"
        return Finding(what, f"pip install --force-reinstall '{package.requirement}'")
    if not package.fits:
        what = f"{package.name} {package.installed} does not fit ({package.needs} is needed)"
        return Finding(what, f"pip install --upgrade '{package.requirement}'")
    return None


def _installed_twins(module: str) -> list[str]:
    """The builds of faiss that are installed. Of OpenCV any will do: they differ in windows and extra modules."""
    return [name for name in _TWINS[module] if installed(name)] if module == "faiss" else []


def _twin_finding(package: Package, twins: list[str], failure: str | None) -> Finding:
    """Two builds in one folder: whichever was installed last lies over the other."""
    what = f"{' and '.join(twins)} are both installed, and each overwrites files of the other"
    remedy = f"pip uninstall --yes {' '.join(twins)} && pip install '{package.requirement}'"
    return Finding(f"{what} ({package.module} does not import: {failure})" if failure else what, remedy)
