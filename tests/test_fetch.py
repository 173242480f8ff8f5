"""Fetching one file: resumption, mirrors, hashes, and servers that misbehave. Only 127.0.0.1 is contacted."""

import email.utils
import errno
import socket
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.base.errors import BadEnvironment, BadInput
from bench.download import fetch, http
from tests.client import DATA, NOW, SHA
from tests.webserver import File, answer, in_turn


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
