"""Cells: text from cards and records, made safe for the place where it is printed.

A name may contain anything: markup, line ends, terminal escapes, letters that change the writing direction.
"""

from __future__ import annotations

import unicodedata

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # after \\ it would begin an argument, and so would *
    "]": "{]}",
    "*": "{*}",
    "–": "--",
    "—": "---",
    "×": r"\texttimes{}",
    **{sign: "\\" + sign for sign in "_%&#${}"},
}

_FORMULA = "=+-@"
"""A spreadsheet takes a cell that begins so for a formula."""


_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of what a terminal obeys or does not show: controls (ESC and C1 too), marks of direction,
invisible signs, halves of surrogate pairs, line and paragraph separators."""


def printable(value: object) -> str:
    """A value on one line in which nothing acts on a terminal or a log: `\\x1b`, `\\n` and the like stand for it."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(c) if unicodedata.category(c) in _UNSEEN else c for c in text)


def _visible(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def storable(name: str) -> str:
    """A file's name as text that can be written: bytes that are no UTF-8 become `\\udc80` to `\\udcff`."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(value: object) -> str:
    """A printable value with single spaces; its line ends are spaces too."""
    return printable(" ".join(str(value).split()))


def markdown_cell(value: object) -> str:
    """A value that cannot break out of its cell, whatever a card or record has in it."""
    text = one_line(value)
    for sign in "\\|<>`*_[]":
        text = text.replace(sign, "\\" + sign)
    return text


def latex_cell(value: object) -> str:
    """A value as text that LaTeX sets as it is."""
    return "".join(_LATEX.get(c, c) for c in one_line(value))


def csv_cell(value: object) -> object:
    """A value as a CSV file has it: text on one line, and with an apostrophe before what would be a formula."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return "'" + text if text.startswith(tuple(_FORMULA)) else text
