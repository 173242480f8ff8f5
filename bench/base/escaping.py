"""Cells: text from cards and records, made safe for the place where it is printed.

A name may contain anything: markup, line ends, terminal escapes, letters that change the writing direction.
"""

from __future__ import annotations

import re
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


_SHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of what a terminal obeys or does not show: controls (ESC and C1 too), marks of direction,
invisible signs, halves of surrogate pairs, line and paragraph separators."""
HARMLESS = "\n\t\u200c\u200d"
"""What a page may keep: space between words, and the joiners that some scripts, and emoji, cannot do without."""


def printable(value: object, keep: str = "") -> str:
    """A value on one line in which nothing acts on a terminal or a log: `\\x1b`, `\\n` and the like stand for it.

    Signs in `keep` stay as they are.
    """
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(c) if c not in keep and unicodedata.category(c) in _SHOWN else c for c in text)


def _visible(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


_UNSEEN = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def json_text(text: str) -> str:
    """JSON in which nothing acts on a terminal: what cannot be seen stands as JSON's own escapes, with the same value.

    Half a surrogate pair, as a file name that is no UTF-8 has, is no text: it becomes what `printable` shows for it.
    """
    return _UNSEEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\\\u{code:04x}" if 0xD800 <= code < 0xE000 else f"\\u{code:04x}"


def without_controls(text: str) -> str:
    """A text without what `printable` shows: for a reader that would not know it from the text itself."""
    return "".join(sign for sign in text if unicodedata.category(sign) not in _SHOWN)


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
