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


_JOINERS = "\u200c\u200d"
"""Invisible signs that some scripts, and emoji, cannot be written without. They change nothing but letters' shapes."""
_LINE_ENDS = re.compile(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]")


def printable(value: object, keep: str = "") -> str:
    r"""A value in which nothing acts on a terminal or on a page: control characters, marks of direction and halves of
    surrogate pairs are shown as `\x1b`, `\u202e`, `\udc80`, and line ends are spaces. Signs in `keep` stay as they are.
    """
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(sign if sign in keep else _shown(sign) for sign in text)


def _shown(sign: str) -> str:
    if _LINE_ENDS.match(sign):
        return " "
    if sign in _JOINERS or unicodedata.category(sign) not in ("Cc", "Cf", "Cs"):
        return sign
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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
    return "".join(sign for sign in text if sign in _JOINERS or unicodedata.category(sign) not in ("Cc", "Cf", "Cs"))


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
