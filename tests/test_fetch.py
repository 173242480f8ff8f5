"""Fetching one file: resumption, mirrors, hashes, and servers that misbehave. Only 127.0.0.1 is contacted."""

import email.utils
import errno
import gzip
import hashlib
import re
import socket
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.download import drive, fetch, http
from bench.download.fetch import Expected, Network
from bench.download.items import Item
from bench.download.parts import Part
from bench.errors import BadEnvironment, BadInput
from tests.webserver import File, answer, in_turn

DATA = np.random.default_rng(1).bytes(300_000)
SHA = hashlib.sha256(DATA).hexdigest()
NOW = 1_700_000_000.0


class Client:
    """Fetches one file from addresses of the server, and remembers what it slept and what it was told."""

    def __init__(self, folder, web):
        self.web = web
        self.path = folder / "cache" / "weights" / "m" / "file.bin"
        self.part = Part.of(self.path)
        self.slept, self.warned, self.seen = [], [], []
        self.network = Network(
            timeout=5.0,
            sleep=self.slept.append,
            now=lambda: NOW,
            warn=self.warned.append,
            progress=lambda *step: self.seen.append(step),
        )

    def __call__(self, *paths, expected=None, size=None, file="file.bin"):
        urls = tuple(path if "://" in path else self.web.url(path) for path in paths)
        item = Item("m", "weights/m", file, urls, "https://example.org/page", self.path, "CC0", bytes=size)
        return fetch.fetch(item, Expected(expected, "published", "Pin it anew.") if expected else None, self.network)

    def whole(self):
        """The file is there, and nothing else."""
        assert self.path.read_bytes() == DATA
        assert [path.name for path in self.path.parent.iterdir()] == ["file.bin"]
        return True

    def kept(self):
        """Bytes of the part; the file itself is not there."""
        assert not self.path.exists()
        return self.part.size


@pytest.fixture
def client(tmp_path, web):
    return Client(tmp_path, web)


def test_a_file_comes_whole_with_its_hash(client, web):
    web.table["/f"] = File(DATA)
    got = client("/f", expected=SHA, size=len(DATA))
    assert client.whole()
    assert (got.sha256, got.url) == (SHA, web.url("/f"))
    assert client.seen[-1] == ("fetching file.bin", len(DATA), len(DATA))
    assert len(web.requests) == 1 and not client.slept


@pytest.mark.parametrize("validator", [{"etag": '"one"'}, {"etag": None, "modified": "Mon, 02 Oct 2023 07:00:00 GMT"}])
def test_a_broken_connection_goes_on_where_it_broke(client, web, validator):
    web.table["/f"] = File(DATA, breaks=[120_000, 60_000], **validator)
    client("/f")
    assert client.whole()
    assert web.ranges() == [None, "bytes=120000-", "bytes=180000-"]
    assert [headers.get("If-Range") for _, _, headers in web.requests[1:]] == [*validator.values()][-1:] * 2
    assert client.slept == [1.0, 2.0]


def test_a_connection_reset_is_tried_again(client, web):
    web.table["/f"] = File(DATA, breaks=[100_000, 10], reset=True)
    client("/f")
    assert client.whole() and len(web.requests) == 3


def test_what_came_is_kept_for_the_next_command(client, web):
    web.table["/f"] = File(DATA, breaks=[100_000, 0, 0, 0, 0, 0, 0, 0])
    with pytest.raises(BadEnvironment, match=r"broke.*\(4 times\)") as caught:
        client("/f")
    assert caught.value.exit_code == 4
    assert client.kept() == 100_000 and "The 100,000 bytes that came are kept" in caught.value.remedy
    web.table["/f"] = File(DATA)
    web.requests.clear()
    client("/f")
    assert client.whole() and web.ranges() == ["bytes=100000-"]


def test_a_server_that_ignores_ranges_begins_anew(client, web):
    web.table["/f"] = File(DATA, breaks=[100_000], ranges=False)
    client("/f")
    assert client.whole()
    assert any("begins anew" in warning for warning in client.warned)


def test_without_a_validator_nothing_is_stitched_together(client, web):
    web.table["/f"] = File(DATA, breaks=[100_000], etag=None)
    client("/f")
    assert client.whole() and web.ranges() == [None, None]


def test_a_weak_validator_is_none(client, web):
    web.table["/f"] = File(DATA, breaks=[100_000], etag='W/"one"')
    client("/f")
    assert client.whole() and web.ranges() == [None, None]


def test_with_a_known_hash_a_part_is_used_without_a_validator(client, web):
    web.table["/f"] = File(DATA, breaks=[100_000], etag=None)
    client("/f", expected=SHA)
    assert client.whole() and web.ranges() == [None, "bytes=100000-"]


def test_a_file_that_changed_after_the_part_came_begins_anew(client, web):
    other = DATA[::-1]
    web.table["/f"] = in_turn(File(other, etag='"old"', breaks=[100_000]), File(DATA, etag='"new"'))
    client("/f")
    assert client.whole()


def test_a_changed_file_behind_a_server_that_ignores_if_range_begins_anew(client, web):
    old, new = File(DATA[::-1], etag='"old"', breaks=[100_000]), File(DATA, etag='"new"')

    def careless(handler):
        del handler.headers["If-Range"]
        handler._send_file(new)

    web.table["/f"] = in_turn(old, careless)
    client("/f")
    assert client.whole() and web.ranges() == [None, "bytes=100000-", None]


def test_a_range_that_begins_elsewhere_is_not_stitched(client, web):
    web.table["/f"] = File(DATA, breaks=[100_000], shift=1_000)
    client("/f")
    assert client.whole()
    assert web.ranges()[-1] is None


def test_pieces_that_do_not_fit_together_are_fetched_anew(client, web):
    client.part.path.parent.mkdir(parents=True)
    client.part.path.write_bytes(b"x" * 1000)
    web.table["/f"] = File(DATA)
    client("/f", expected=SHA)
    assert client.whole() and web.ranges() == ["bytes=1000-", None]


def test_a_part_that_is_whole_is_not_fetched_again(client, web):
    client.part.describe(web.url("/f"), '"one"', len(DATA))
    client.part.path.write_bytes(DATA)
    client("/f")
    assert client.whole() and not web.requests


def test_a_part_longer_than_the_file_is_forgotten(client, web):
    client.part.describe(web.url("/f"), '"one"', None)
    client.part.path.write_bytes(DATA + b"more")
    web.table["/f"] = File(DATA)
    client("/f")
    assert client.whole()


def test_a_length_too_long_is_a_broken_connection(client, web):
    web.table["/f"] = File(DATA, length=len(DATA) + 100, etag=None)
    with pytest.raises(BadEnvironment, match=r"broke after 300,000 of 300,100 bytes \(4 times\)"):
        client("/f")
    assert client.kept() == len(DATA)


def test_a_length_too_short_is_not_what_the_card_says(client, web):
    web.table["/f"] = File(DATA, length=len(DATA) - 100)
    with pytest.raises(BadInput, match="offers 299,900 bytes, the card says 300,000"):
        client("/f", size=len(DATA))
    assert client.kept() == 0


def test_a_length_too_short_fails_by_the_hash(client, web):
    web.table["/f"] = File(DATA, length=len(DATA) - 100)
    with pytest.raises(BadInput, match="SHA-256"):
        client("/f", expected=SHA)
    assert client.kept() == 0


def test_chunks_need_no_length(client, web):
    web.table["/f"] = File(DATA, chunked=True)
    client("/f")
    assert client.whole()


def test_chunks_beyond_the_card_s_size_are_refused(client, web):
    web.table["/f"] = File(DATA, chunked=True)
    with pytest.raises(BadInput, match="more than the 1,000 bytes"):
        client("/f", size=1000)
    assert client.kept() == 0


def test_another_hash_than_the_published_is_refused_and_nothing_kept(client, web):
    web.table["/f"] = File(DATA[::-1])
    with pytest.raises(BadInput, match=f"the one published is {SHA[:12]}") as caught:
        client("/f", expected=SHA)
    assert client.kept() == 0
    assert caught.value.exit_code == 3 and caught.value.remedy.startswith("Pin it anew.")


def test_mirrors_are_tried_in_order_and_every_reason_is_said(client, web):
    web.table |= {"/wrong": File(DATA[::-1]), "/gone": answer(410), "/shut": answer(403)}
    with pytest.raises(BadEnvironment) as caught:
        client("/none", "/wrong", "/gone", "/shut", expected=SHA)
    reasons = caught.value.problem.split("; ")
    expected = ("not there (404)", "its SHA-256 is", "gone for good (410)", "refused (403)")
    assert len(reasons) == 4 and all(word in reason for word, reason in zip(expected, reasons, strict=True))
    assert "https://example.org/page" in caught.value.remedy and str(client.path) in caught.value.remedy
    web.table["/good"] = File(DATA)
    client("/none", "/wrong", "/good", expected=SHA)
    assert client.whole() and "trying the next mirror" in client.warned[-1]


def test_a_second_mirror_goes_on_where_the_first_broke_if_a_hash_is_known(client, web):
    web.table |= {"/a": File(DATA, breaks=[100_000, 0, 0, 0, 0, 0]), "/b": File(DATA, etag='"other"')}
    client("/a", "/b", expected=SHA)
    assert client.whole() and web.ranges()[-1] == "bytes=100000-"


def test_503_waits_as_long_as_the_server_says(client, web):
    date = email.utils.formatdate(NOW + 90, usegmt=True)
    busy = (answer(503, Retry_After="7"), answer(429, Retry_After=date), answer(503, Retry_After="soon"))
    web.table["/f"] = in_turn(*busy, File(DATA))
    client("/f")
    assert client.whole() and client.slept == [7.0, 90.0, 4.0]


def test_503_is_given_up_after_some_requests(client, web):
    web.table["/f"] = answer(503, Retry_After="1")
    with pytest.raises(BadEnvironment, match=r"too busy \(503\) \(4 times\)"):
        client("/f")
    assert client.slept == [1.0] * 3


def test_503_that_wants_an_hour_is_not_waited_for(client, web):
    web.table["/f"] = answer(503, Retry_After="3600")
    with pytest.raises(BadEnvironment, match="wants to be asked again in 3600 seconds"):
        client("/f")
    assert not client.slept


def test_404_is_not_asked_for_twice(client, web):
    with pytest.raises(BadEnvironment, match=r"the file is not there \(404\)") as caught:
        client("/none")
    assert caught.value.exit_code == 4 and len(web.requests) == 1


def test_a_server_error_is_tried_again(client, web):
    web.table["/f"] = in_turn(answer(500), answer(502), File(DATA))
    client("/f")
    assert client.whole()


def test_a_server_that_falls_silent(client, web):
    web.table["/f"] = File(DATA, hang=True)
    client.network = replace(client.network, timeout=0.1, attempts=2)
    with pytest.raises(BadEnvironment, match=r"nothing came for 0.1 seconds \(2 times\)"):
        client("/f")
    assert client.kept() > 0


def test_a_connection_refused(client, web):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(BadEnvironment, match="refuses the connection"):
        client(f"http://127.0.0.1:{port}/f")


@pytest.mark.parametrize(
    "error, words",
    [
        (socket.gaierror(-2, "Name or service not known"), "is there a network"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "the connection broke"),
    ],
)
def test_no_network(client, monkeypatch, error, words):
    def refuse(*arguments, **named):
        raise error

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(BadEnvironment, match=words):
        client("https://nowhere.invalid/f")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_range_and_all(client, web, status):
    web.table |= {"/f": answer(status, Location="/g"), "/g": File(DATA, breaks=[100_000])}
    client("/f")
    assert client.whole() and web.ranges()[-1] == "bytes=100000-"


def test_redirects_have_an_end(client, web):
    for i in range(20):
        web.table[f"/{i}"] = answer(302, Location=f"/{i + 1}")
    web.table |= {"/20": File(DATA), "/loop": answer(302, Location="/loop")}
    for path in ("/0", "/loop"):
        with pytest.raises(BadEnvironment, match="redirects in a circle, too often"):
            client(path)
    assert len(web.requests) < 20


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/f", "data:text/plain,x"])
def test_redirects_lead_to_web_addresses_only(client, web, target):
    web.table["/f"] = answer(302, Location=target)
    with pytest.raises((BadEnvironment, BadInput)):
        client("/f")
    assert client.kept() == 0


def test_https_never_becomes_http():
    request = http.Request("https://example.org/f")
    with pytest.raises(http.Failure, match=r"from https to http://example\.org/f"):
        http._Redirects().redirect_request(request, None, 302, "", {}, "http://example.org/f")
    assert http._Redirects().redirect_request(request, None, 302, "", {}, "https://example.org/g") is not None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/f"])
def test_addresses_of_other_kinds_are_not_opened(client, url):
    with pytest.raises(BadEnvironment):
        client(url)


def test_a_proxy_is_taken_from_the_environment(client, web, monkeypatch):
    monkeypatch.setenv("http_proxy", web.base)
    web.table["http://files.invalid/f"] = File(DATA)
    client("http://files.invalid/f")
    assert client.whole() and web.requests[0][1] == "http://files.invalid/f"
    monkeypatch.setenv("no_proxy", "files.invalid")
    client.path.unlink()
    with pytest.raises(BadEnvironment):
        client("http://files.invalid/f")


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_not_the_file(client, web, kind):
    page = b"\n<!DOCTYPE html><html><head><title>Please log\n in</title></head></html>"
    web.table["/f"] = File(page, kind=kind)
    with pytest.raises(BadInput, match=r"a web page came instead of the file \('Please log in'\)") as caught:
        client("/f")
    assert client.kept() == 0 and caught.value.exit_code == 3


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
    client("/f", file="data.tgz")
    assert client.whole()


def test_a_web_page_in_place_of_the_rest_leaves_the_part_alone(client, web):
    page = File(b"<html>too many requests</html>", kind="text/html", ranges=False)
    web.table["/f"] = in_turn(File(DATA, breaks=[100_000]), page)
    with pytest.raises(BadInput, match="web page"):
        client("/f")
    assert client.kept() == 100_000


def test_an_empty_file_is_refused(client, web):
    web.table["/f"] = File(b"")
    with pytest.raises(BadInput, match="empty file"):
        client("/f")


def test_a_full_disk_is_said_before_the_first_byte(client, web, monkeypatch):
    web.table["/f"] = File(DATA)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(BadEnvironment, match="needs 300,000 more bytes"):
        client("/f")


def test_a_disk_that_takes_no_more_is_said_with_the_file_and_keeps_what_it_took(client, web):
    resource = pytest.importorskip("resource")
    web.table["/f"] = File(DATA)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(BadEnvironment, match=r"cannot write .*file\.bin\.part: File too large") as caught:
            client("/f")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "--cache" in caught.value.remedy and client.kept() == 100_000
    client("/f")
    assert client.whole()


def test_an_interruption_keeps_what_came(client, web):
    def stop(what, done, total):
        if done > 100_000:
            raise KeyboardInterrupt

    web.table["/f"] = File(DATA)
    patient = client.network
    client.network = replace(patient, progress=stop)
    with pytest.raises(KeyboardInterrupt):
        client("/f")
    kept = client.kept()
    assert kept > 100_000
    client.network = patient
    client("/f")
    assert client.whole() and web.ranges() == [None, f"bytes={kept}-"]


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


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(breaks=st.lists(st.integers(0, 200_000), max_size=3), ranges=st.booleans(), etag=st.sampled_from([None, '"e"']))
def test_however_it_breaks_what_arrives_is_the_file(client, web, breaks, ranges, etag):
    client.path.unlink(missing_ok=True)
    web.table["/f"] = File(DATA, breaks=list(breaks), ranges=ranges, etag=etag)
    client("/f")
    assert client.whole()
