"""Fetching one file, and something else comes: web pages, texts, encoded bodies. Only 127.0.0.1 is contacted."""

import gzip
import re

import pytest

from bench.base.errors import BadInput
from bench.download import drive
from tests.client import DATA, SHA
from tests.webserver import File, in_turn, raw


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_not_the_file(client, web, kind):
    page = b"\n<!DOCTYPE html><html><head><title>Please log\n in</title></head></html>"
    web.table["/f"] = File(page, kind=kind)
    with pytest.raises(BadInput, match=r"a web page came instead of the file \('Please log in'\)") as caught:
        client("/f")
    assert client.kept() == 0 and caught.value.exit_code == 3


@pytest.mark.parametrize(
    "page",
    [
        b"\xef\xbb\xbf<!DOCTYPE html>", b"<!-- saved -->\n<html lang='de'>", "\ufeff<html>".encode("utf-16-le"),
        b'<?xml version="1.0"?><html>', b"<head><title>x", b"<script>location='/'",
    ],
)  # fmt: skip
def test_a_web_page_is_known_by_its_beginning_however_slowly_it_comes(client, web, page):
    def slowly(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(page)))
        handler.end_headers()
        for byte in page:
            handler.wfile.write(bytes([byte]))

    web.table["/f"] = slowly
    with pytest.raises(BadInput, match="a web page came instead of the file"):
        client("/f")
    assert client.kept() == 0


@pytest.mark.parametrize(
    "markup",
    [
        "<![<![<![", "<form action='http://[::1'><input type='hidden' name='id' value='x'>", "<!" * 5000,
        "<form action='ftp://x.google.com/'><input type='hidden' name='id' value='x'>", "<title>\x1b[31m\n\x9b",
    ],
)  # fmt: skip
def test_a_page_of_broken_markup_is_a_page(client, web, monkeypatch, markup):
    monkeypatch.setattr(drive, "DOWNLOAD", web.url("/download"))
    web.table["/download"] = File(f"<html>{markup}".encode(), kind="text/html")
    with pytest.raises(BadInput, match="web page") as caught:
        client(drive.download_address("abcdefghijkl"))
    assert not set("\x1b\x9b\n") & set(caught.value.problem)


@pytest.mark.parametrize("carried", ["gzip, chunked", "deflate"])
def test_a_body_carried_in_another_way_is_not_the_file(client, web, carried):
    web.table["/f"] = raw(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {carried}\r\n\r\n".encode() + DATA)
    with pytest.raises(BadInput, match="encoded"):
        client("/f", expected=SHA)
    assert client.kept() == 0


@pytest.mark.parametrize(
    "kind", ["application/json", "application/problem+json", "text/plain", "text/xml", "application/xml", "text/csv"]
)
def test_text_is_no_binary_file_and_the_next_mirror_is_tried(client, web, kind):
    web.table |= {"/error": File(b'{"error": "quota"}', kind=kind), "/f": File(DATA)}
    with pytest.raises(BadInput, match=re.escape(f"text ({kind}) came instead of the file")):
        client("/error")
    assert client.kept() == 0
    client("/error", "/f")
    assert client.whole()


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("a.json", "application/json"),
        ("a.json", "text/plain"),
        ("ids.txt", "text/plain"),
        ("a.csv", "text/csv"),
        ("a.xml", "application/xml"),
    ],
)
def test_text_files_come_as_text(client, web, file, kind):
    web.table["/t"] = File(b"text", kind=kind)
    client("/t", file=file)
    assert client.path.read_bytes() == b"text"


def test_json_is_no_list_of_ids(client, web):
    web.table["/t"] = File(b'{"error": "quota"}', kind="application/json")
    with pytest.raises(BadInput, match="came instead of the file"):
        client("/t", file="ids.txt")


def test_a_binary_file_that_the_server_calls_plain_text_is_taken(client, web):
    web.table["/f"] = File(b"PK\x03\x04" + bytes(8) + DATA, kind="text/plain")
    client("/f")
    assert client.path.read_bytes().endswith(DATA)


@pytest.mark.parametrize("encoding", ["gzip", "br", "x-unknown"])
def test_an_encoded_body_is_not_the_file(client, web, encoding):
    web.table |= {"/e": File(gzip.compress(DATA), encoding=encoding), "/f": File(DATA, encoding="identity")}
    with pytest.raises(BadInput, match=rf"encoded \({encoding}\)"):
        client("/e")
    assert client.kept() == 0
    client("/e", "/f")
    assert client.whole()


def test_an_encoded_rest_leaves_the_part_alone(client, web):
    web.table["/f"] = in_turn(File(DATA, breaks=[100_000]), File(DATA, encoding="gzip"))
    with pytest.raises(BadInput, match="encoded"):
        client("/f")
    assert client.kept() == 100_000


def test_a_tgz_of_which_the_server_says_that_it_is_encoded_is_the_file(client, web):
    web.table["/f"] = File(DATA, encoding="x-gzip")
    client("/f", file="data.tgz", root=client.path.parent / "data")
    assert client.whole()


def test_a_web_page_in_place_of_the_rest_leaves_the_part_alone(client, web):
    page = File(b"<html>too many requests</html>", kind="text/html", ranges=False)
    web.table["/f"] = in_turn(File(DATA, breaks=[100_000]), page)
    with pytest.raises(BadInput, match="web page"):
        client("/f")
    assert client.kept() == 100_000


def test_google_s_question_about_the_virus_scan_is_answered(client, web, monkeypatch):
    monkeypatch.setattr(drive, "DOWNLOAD", web.url("/download"))
    form = (
        b'<html><head><title>Google Drive - Virus scan warning</title></head><body><form id="download-form" '
        b'action="/download" method="get"><input type="hidden" name="id" value="abcdefghijkl">'
        b'<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="1-2">'
        b'<input type="submit" value="Download anyway"></form></body></html>'
    )
    confirmed = "/download?id=abcdefghijkl&confirm=t&uuid=1-2"
    web.table |= {"/download": File(form, kind="text/html"), confirmed: File(DATA, breaks=[100_000])}
    client(drive.download_address("abcdefghijkl"))
    assert client.whole()
    assert [path for _, path, _ in web.requests] == [
        "/download?id=abcdefghijkl&export=download&confirm=t", confirmed, confirmed,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "page, words",
    [
        ("<title>Google Drive - Quota exceeded</title><p>Sorry, you can't view or download this file", "quota"),
        ("<p>Too many users have viewed or downloaded this file recently.</p>", "quota"),
        ("<title>Google Drive: Sign in</title>", "sign-in"),
        ("<p>You need access</p>", "sign-in"),
        ("<title>Sorry...</title>", "web page"),
        ('<form action="https://evil.invalid/x"><input type="hidden" name="id" value="x"></form>', "web page"),
    ],
)
def test_google_s_pages_are_explained_with_the_manual_way(client, web, monkeypatch, page, words):
    monkeypatch.setattr(drive, "DOWNLOAD", web.url("/download"))
    web.table["/download"] = File(f"<html>{page}</html>".encode(), kind="text/html")
    with pytest.raises(BadInput, match=words) as caught:
        client(drive.download_address("abcdefghijkl"))
    assert "Google Drive" in caught.value.problem
    assert "in a browser, save the file as" in caught.value.remedy
    assert len(web.requests) == 1


def test_a_question_asked_twice_is_not_answered_twice(client, web, monkeypatch):
    monkeypatch.setattr(drive, "DOWNLOAD", web.url("/download"))
    form = b'<html><form action="/download"><input type="hidden" name="id" value="x"></form></html>'
    web.table["/download"] = File(form, kind="text/html")
    with pytest.raises(BadInput, match="confirmation"):
        client(drive.download_address("abcdefghijkl"))
    assert len(web.requests) == 2
