"""Kinds on which a program does what it must not: they show that it would be noticed."""

import os
import shutil
import sys
import time
from random import Random

import click
import numpy as np

from tests.fuzz.kind import Done, Kind, call


class _Planted(Kind):
    faulty = False

    def put(self) -> None:
        self.faulty = False
        (self.world.place / "input").write_bytes(b"sound")

    def damage(self, random: Random) -> str:
        self.faulty = True
        return self.damage_file(random, self.world.place / "input", special=0)

    def use(self, random: Random) -> Done:
        return call(self.fault if self.faulty else lambda: None)

    def fault(self) -> object:
        raise NotImplementedError


class Raises(_Planted):
    def fault(self) -> object:
        return {}["key"]


class Hangs(_Planted):
    def fault(self) -> object:
        return time.sleep(600)


class Dies(_Planted):
    def fault(self) -> object:
        os.abort()


class TakesMemory(_Planted):
    def fault(self) -> object:
        held = np.zeros(int(2.2 * 2**30), np.uint8)
        held[::4096] = 1  # a page is taken when it is written to
        return held[-1]


class IsOutOfMemory(_Planted):
    def fault(self) -> object:
        return np.ones(2**36, np.uint8)


class WritesOutside(_Planted):
    def fault(self) -> object:
        return shutil.copy("input", self.world.home / ".bashrc")


class ChangesInput(_Planted):
    def fault(self) -> object:
        return (self.world.place / "input").write_text("mine")


class LeavesTemporaryFiles(_Planted):
    def fault(self) -> object:
        return (self.world.temporary / "x.tmp").write_text("")


class PrintsEscapes(_Planted):
    def fault(self) -> object:
        return sys.stderr.write("\x1b[2J is damaged\n")


class PrintsCommands(_Planted):
    def fault(self) -> object:
        return click.echo("::error::x", err=True)


class EndsInSilence(_Planted):
    def fault(self) -> object:
        raise SystemExit(3)


class GivesAnotherCode(_Planted):
    def fault(self) -> object:
        raise SystemExit(130)
