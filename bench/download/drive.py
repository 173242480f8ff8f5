"""Google Drive: the addresses of its files, and the meaning of the web pages that it sends instead of a file."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

from bench.base.escaping import one_line

DOWNLOAD = "https://drive.usercontent.google.com/download"
HOSTS = (".google.com", ".googleusercontent.com")
START = 512
"""Bytes at the beginning of a file that tell a web page."""
_PAGE = re.compile(
    rb"(\s|<!--.*?-->|<\?xml.*?\?>)*<(!doctype html|(html|head|body|title|script|meta)\b)", re.DOTALL | re.IGNORECASE
)
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""Byte order marks."""


def download_address(file_id: str) -> str:
    """The address of a file's bytes. `confirm=t` answers beforehand the question about the virus scan."""
    return f"{DOWNLOAD}?{urlencode({'id': file_id, 'export': 'download', 'confirm': 't'})}"


def is_drive(url: str) -> bool:
    """Whether an address is Google's."""
    return url.startswith(DOWNLOAD) or (urlsplit(url).hostname or "").endswith(HOSTS)


def looks_like_page(start: bytes) -> bool:
    """Whether a file that begins with these bytes is a web page."""
    for mark in _MARKS:
        if start.startswith(mark):
            start = start.removeprefix(mark).replace(b"\0", b"")
    return _PAGE.match(start) is not None


@dataclass
class _Form:
    action: str
    hidden: dict[str, str] = field(default_factory=dict)


class _Page(HTMLParser):
    """Collects a page's title, text and forms."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[_Form] = []
        self.title = ""
        self.text: list[str] = []
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember forms and their hidden fields."""
        values = {key: value or "" for key, value in attrs}
        self._tag = tag
        if tag == "form":
            self.forms.append(_Form(values.get("action", "")))
        elif tag == "input" and self.forms and values.get("type") == "hidden" and values.get("name"):
            self.forms[-1].hidden[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        """Text after it belongs to nothing we know."""
        self._tag = ""

    def handle_data(self, data: str) -> None:
        """Remember what a reader sees."""
        if self._tag == "title":
            self.title += data
        elif self._tag not in ("script", "style"):
            self.text.append(data)


@dataclass(frozen=True)
class Answer:
    """What a web page in a file's place says."""

    reason: str
    """In one line, why the file did not come."""
    confirmed: str | None = None
    """Where the file is once the page's question is answered with yes; None where it asks nothing."""


def read_page(html: str, url: str) -> Answer:
    """What the page at `url` says. Only Google's question about the virus scan is answered for the user."""
    page = _Page()
    with suppress(AssertionError, ValueError):  # of markup that is none: what stands before it counts
        page.feed(html)
    title = one_line(page.title)[:80]
    text = " ".join(" ".join(page.text).split()).lower()
    if not is_drive(url):
        return Answer("a web page came instead of the file" + (f" ('{title}')" if title else ""))
    for form in page.forms:
        target = _target(url, form.action)
        if "id" in form.hidden and is_drive(target):
            return Answer(
                "Google Drive asks for a confirmation, because it cannot scan the file for viruses",
                f"{target.partition('?')[0]}?{urlencode(form.hidden)}",
            )
    if "quota exceeded" in title.lower() or "too many users" in text or "quota" in text:
        return Answer(
            "Google Drive's quota for this file is used up: too many people have fetched it; it is reset within a day"
        )
    if "accounts.google" in url or "sign in" in title.lower() or "need access" in text:
        return Answer("Google Drive asks for a sign-in: the file is not public (any more)")
    return Answer("Google Drive answered with a web page" + (f" ('{title}')" if title else ""))


def _target(url: str, action: str) -> str:
    """Where a form on the page at `url` leads; empty where that is no address, or of another kind than the page's."""
    try:
        target = urljoin(url, action)
        return target if urlsplit(target).scheme == urlsplit(url).scheme else ""
    except ValueError:
        return ""
