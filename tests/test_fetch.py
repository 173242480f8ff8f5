"""Fetching one file: resumption, mirrors, hashes, and servers that misbehave. Only 127.0.0.1 is contacted."""

import email.utils
import errno
import hashlib
import itertools
import os
import socket
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.base.errors import BadEnvironment, BadInput
from bench.download import fetch, http, part_files
from tests.client import DATA, NOW, SHA
from tests.webserver import File, WebServer, answer, in_turn, raw

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
"""Of an answer, to which a test adds others."""


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
    assert client.kept() == 100_000 and "The 100,000 bytes that arrived are kept" in caught.value.remedy
    web.table["/f"] = File(DATA)
    web.requests.clear()
    client("/f")
    assert client.whole() and web.ranges() == ["bytes=100000-"]


def test_a_server_that_ignores_ranges_begins_anew(client, web):
    web.table["/f"] = File(DATA, breaks=[100_000], ranges=False)
    client("/f")
    assert client.whole()
    assert any("the download starts again" in warning for warning in client.warned)


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
    client.keep(DATA, total=len(DATA))
    client("/f")
    assert client.whole() and not web.requests


def test_bytes_that_were_not_synced_are_not_resumed_from(client, web):
    client.keep(DATA[:100_000])
    with client.part.path.open("ab") as stream:
        stream.write(DATA[100_000:150_000] + bytes(50_000))  # written after the last sync; the power went off
    web.table["/f"] = File(DATA)
    client("/f")
    assert client.whole() and web.ranges() == ["bytes=100000-"]
    assert "100,000 bytes of an earlier download are fetched again" in client.warned[0]


@pytest.mark.parametrize("damage", [lambda data: data[:50_000] + bytes(50_000), lambda data: data[:50_000]])
@pytest.mark.parametrize("expected", [None, SHA])
def test_a_part_that_is_not_what_its_journal_says_begins_anew(client, web, damage, expected):
    client.keep(DATA[:100_000])
    client.part.path.write_bytes(damage(DATA[:100_000]))
    web.table["/f"] = File(DATA)
    client("/f", expected=expected)
    assert client.whole() and web.ranges() == [None]


@pytest.mark.parametrize(
    "journal",
    [
        None, b"", bytes(200), b"[]", b"[" * 100_000, b'{"synced": -1, "sha256": "0"}',
        b'{"synced": "all", "sha256": 7}', b'{"source": "SOURCE", "validator": "\\"one\\"", "total": 300000}',
    ],
)  # fmt: skip
def test_a_part_without_a_sound_journal_begins_anew(client, web, journal):
    client.keep(DATA[:100_000])
    place = client.part.path.with_name("file.bin.part.json")
    place.unlink()
    if journal is not None:
        place.write_bytes(journal.replace(b"SOURCE", web.url("/f").encode()))
    web.table["/f"] = File(DATA)
    client("/f")
    assert client.whole() and web.ranges() == [None]


def test_the_journal_never_says_more_than_is_synced_and_little_less_than_came(client, web, monkeypatch):
    synced, claimed = [0], []
    monkeypatch.setattr(part_files, "CHECKPOINT", 100_000)
    monkeypatch.setattr(fetch, "CHUNK", 10_000)
    sync = os.fsync

    def keep(handle):
        sync(handle)
        if client.part.size and os.path.samestat(os.fstat(handle), client.part.path.stat()):
            synced.append(os.fstat(handle).st_size)

    def look(what, done, total):
        journal = client.part.journal()
        claimed.append(journal.synced)
        assert journal.synced <= synced[-1]
        if journal.sha256:
            assert journal.sha256 == hashlib.sha256(DATA[: journal.synced]).hexdigest()
        assert done - journal.synced < 110_000

    monkeypatch.setattr(os, "fsync", keep)
    client.network = replace(client.network, progress=look)
    web.table["/f"] = File(DATA)
    client("/f")
    assert client.whole() and 3 <= len(set(claimed)) <= 5


def test_the_journal_is_written_on_a_slow_line_too(client, web, monkeypatch):
    monkeypatch.setattr(fetch, "CHUNK", 10_000)
    claimed = []
    client.network = replace(
        client.network,
        clock=itertools.count(0.0, 1.0).__next__,
        progress=lambda what, done, total: claimed.append(client.part.journal().synced),
    )
    web.table["/f"] = File(DATA)
    client("/f")
    assert client.whole() and len(set(claimed)) > 2


def test_an_answer_that_is_only_a_piece_of_the_rest_is_not_the_end(client, web):
    client.keep(DATA[:100_000], total=len(DATA))
    web.table["/f"] = File(DATA, piece=80_000)
    client("/f")
    assert client.whole() and web.ranges() == ["bytes=100000-", "bytes=180000-", "bytes=260000-"]


def test_a_part_longer_than_the_file_is_forgotten(client, web):
    client.keep(DATA + b"more")
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


def test_chunks_that_break_off_are_a_broken_connection(client, web):
    web.table["/f"] = File(DATA, chunked=True, breaks=[100_000])
    client("/f")
    assert client.whole() and web.ranges() == [None, "bytes=100000-"]


def test_where_nothing_says_how_long_the_file_is_it_is_not_taken(client, web):
    web.table |= {"/cut": File(DATA, sized=False, breaks=[100_000]), "/f": File(DATA, sized=False)}
    for path in ("/cut", "/f"):
        with pytest.raises(BadInput, match="says how long the file is"):
            client(path)
        assert client.kept() == 0


def test_without_a_length_the_card_s_size_tells_a_break(client, web):
    web.table["/f"] = File(DATA, sized=False, breaks=[100_000])
    assert client("/f", size=len(DATA)).vouched
    assert client.whole() and web.ranges() == [None, "bytes=100000-"]


def test_without_a_length_a_hash_tells_a_break(client, web):
    web.table |= {"/cut": File(DATA, sized=False, breaks=[100_000]), "/f": File(DATA, sized=False)}
    with pytest.raises(BadInput, match="SHA-256"):
        client("/cut", expected=SHA)
    assert client("/f", expected=SHA).vouched and client.whole()


@pytest.mark.parametrize(
    "lengths, words",
    [
        (b"300000\r\nContent-Length: 200000", "two lengths"),
        (b"9" * 17, "needs"),
        (b"9" * 5000, "says how long the file is"),
        (b"-5", "says how long the file is"),
        (b"three", "says how long the file is"),
        (b"0", "empty file"),
    ],
)
def test_a_length_that_is_none_is_not_believed(client, web, lengths, words):
    web.table["/f"] = raw(HEAD + b"Content-Length: " + lengths + b"\r\n\r\n" + DATA)
    with pytest.raises((BadInput, BadEnvironment), match=words):
        client("/f")
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
    expected = ("not there (404)", "its SHA-256 is", "the file was removed (410)", "it refuses access (403)")
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
    with pytest.raises(BadEnvironment, match="asks for a pause of 3600 seconds"):
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
    with pytest.raises(BadEnvironment, match=r"nothing arrived for 0.1 seconds \(2 times\)"):
        client("/f")
    assert client.kept() > 0


@pytest.mark.parametrize("end", [b"Content-Length: 1000000\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_server_that_drips_is_given_up_and_what_came_is_kept(client, web, end):
    body, drop = (b"186a0\r\n%b\r\n", b"1\r\nx\r\n") if b"chunked" in end else (b"%b", b"x")
    web.table["/f"] = raw(HEAD + end + body % DATA[:100_000], drop)
    client.network = replace(client.network, clock=itertools.count().__next__)
    with pytest.raises(BadEnvironment, match="sends less than 1,000 bytes a second"):
        client("/f")
    assert client.kept() >= 100_000


@pytest.mark.parametrize("start, again", [(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"), (b"", b"x")])
def test_headers_that_drip_are_given_up(client, web, start, again):
    web.table["/f"] = raw(start, again)
    client.network = replace(client.network, clock=itertools.count(0.0, 10.0).__next__)
    with pytest.raises(BadEnvironment, match="next to nothing for 40 seconds"):
        client("/f")


@pytest.mark.parametrize(
    "start, again, words",
    [
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n", "more than 1,000,000"),
        (HEAD + b"\r\n", b"x" * 4096, "more than 1,000,000 bytes"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n", b"X: y\r\n" * 500, "without an end"),
        (b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 100, "without an end"),
        (HEAD, b"X: y\r\n" * 100, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 4096, "not HTTP"),
        (b"", b"220 ready\r\n", "not HTTP"),
        (b"HTTP/1.1 302 Found\r\nLocation: /g\r\n\r\n", b"x" * 4096, "without an end"),
    ],
)
def test_a_server_without_an_end_is_given_up(client, web, start, again, words):
    web.table["/f"] = raw(start, again)
    client.network = replace(client.network, most=1_000_000)
    with pytest.raises(BadInput, match=words):
        client("/f")
    assert client.kept() == 0


def test_a_server_that_begins_anew_again_and_again_is_given_up(client, web, monkeypatch):
    monkeypatch.setattr(fetch, "PROGRESS", 100_000)
    web.table["/f"] = File(DATA, etag=None, breaks=[150_000, 10] * 50)
    with pytest.raises(BadEnvironment, match="broke after"):
        client("/f")
    assert len(web.requests) < 10


def test_silence_is_not_waited_for_again_and_again(client, web):
    clock = itertools.count(0.0, 10.0)
    web.table["/f"] = raw(b"")
    client.network = replace(client.network, clock=clock.__next__, attempts=100)
    with pytest.raises(BadEnvironment, match="the connection broke"):
        client("/f")
    assert len(web.requests) < 10


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
        with pytest.raises(BadInput, match="redirects in a circle, or too often"):
            client(path)
    assert len(web.requests) < 20


@pytest.mark.parametrize(
    "target, words",
    [
        ("file:///etc/passwd", "redirects to 'file:///etc/passwd' .*no web address"),
        ("FILE:/etc/passwd", "no web address"),
        ("ftp://127.0.0.1/f", "no web address"),
        ("data:text/plain,x", "no web address"),
        ("javascript:alert(1)", "no web address"),
        ("http://[::1/f", "no address"),
        ("http://[fe80::zz]/f", "no address|cannot be used"),
        ("http://[v1.x]/f", "no address|cannot be used|no connection|cannot be resolved"),
        ("http://127.0.0.1:99999/f", "no address"),
        ("http://127.0.0.1:port/f", "no address"),
        ("http:///f", "in a circle"),
        ("//", "in a circle"),
        ("", "redirects to '' .*no address"),
        ("http://a..b/f", "cannot be used"),
        (f"http://{'n' * 70}.invalid/f", "cannot be used"),
    ],
)
def test_redirects_lead_to_web_addresses_only(client, web, target, words):
    web.table["/f"] = answer(302, Location=target)
    with pytest.raises((BadEnvironment, BadInput), match=words) as caught:
        client("/f")
    assert client.kept() == 0 and "\n" not in caught.value.problem
    if "v1" not in target:
        assert caught.value.exit_code == 3


def test_a_redirect_without_a_target_is_refused(client, web):
    web.table["/f"] = answer(301)
    with pytest.raises(BadInput, match="no address"):
        client("/f")


def test_a_redirect_to_an_address_of_ipv6_is_followed(client, web):
    class Server6(WebServer):
        address_family = socket.AF_INET6

    try:
        other = Server6("::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    other.table["/g"] = File(DATA)
    web.table["/f"] = answer(302, Location=f"http://[::1]:{other.server_port}/g")
    try:
        client("/f")
    finally:
        other.stop()
    assert client.whole()


def test_what_a_server_says_cannot_act_on_the_terminal(client, web):
    web.table["/f"] = raw(b"HTTP/1.1 418 \x1b[31mred\x1b[0m\x9b2J\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(BadEnvironment, match="it answered 418") as caught:
        client("/f")
    assert not set("\x1b\x9b") & set(caught.value.problem)


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


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(breaks=st.lists(st.integers(0, 200_000), max_size=3), ranges=st.booleans(), etag=st.sampled_from([None, '"e"']))
def test_however_it_breaks_what_arrives_is_the_file(client, web, breaks, ranges, etag):
    client.path.unlink(missing_ok=True)
    web.table["/f"] = File(DATA, breaks=list(breaks), ranges=ranges, etag=etag)
    client("/f")
    assert client.whole()
