"""Proxies: whose word counts, and for whom; a path prefix that one of them took away, or did not."""

import pytest

from services.runtime.http.core.proxies import (
    NONE,
    Proxies,
    Visitor,
    apart,
    checked_networks,
    checked_root,
    inner_path,
    is_forwarded,
    limited,
)

LOOPBACK = "127.0.0.0/8,::1/128"


def seen(peer: str, *headers: str, networks: str = "10.0.0.0/8,fd00::/8") -> Visitor:
    """Return what is seen of a request with these headers, each `name: value`."""
    raw = [header.partition(": ") for header in headers]
    return Proxies(networks).seen(peer, [(name.encode(), value.encode("latin-1")) for name, _, value in raw])


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        ("10.0.0.1", ["x-forwarded-for: 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["x-forwarded-for: 192.0.2.9, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["x-forwarded-for: 192.0.2.9, 192.0.2.1, 10.1.1.1,10.2.2.2"], "192.0.2.1"),
        ("10.0.0.1", ["x-forwarded-for: 192.0.2.9", "x-forwarded-for: 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["x-forwarded-for: 10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", ["x-forwarded-for: 192.0.2.1:4711"], "192.0.2.1"),
        ("10.0.0.1", ["x-forwarded-for: [2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["x-forwarded-for: 2001:DB8:0::1"], "2001:db8::1"),
        ("10.0.0.1", ["x-forwarded-for: ::ffff:192.0.2.1"], "192.0.2.1"),
        ("::ffff:10.0.0.1", ["x-forwarded-for: 192.0.2.1"], "192.0.2.1"),
        ("fd00::1", ["x-forwarded-for: fe80::1%eth0"], "fe80::1"),
        ("10.0.0.1", ["forwarded: for=192.0.2.9, for=192.0.2.1;proto=https;by=10.0.0.1"], "192.0.2.1"),
        ("10.0.0.1", ['forwarded: For="[2001:db8::1]:4711"'], "2001:db8::1"),
        ("10.0.0.1", ['forwarded: for="192.0.2.1";host="a,b;for=192.0.2.9"'], "192.0.2.1"),
        ("10.0.0.1", ["forwarded: for=192.0.2.9", "x-forwarded-for: 192.0.2.1"], "192.0.2.1"),
    ],
)
def test_a_trusted_proxy_names_the_client(peer: str, headers: list[str], address: str) -> None:
    """The rightmost address that no trusted proxy has; what stands left of it may be made up."""
    assert seen(peer, *headers)[0] == address


@pytest.mark.parametrize("networks", [NONE, LOOPBACK])
def test_untrusted_proxies_name_no_client(networks: str) -> None:
    """Neither client, scheme nor host: a stranger writes what it likes."""
    headers = [
        "x-forwarded-for: 192.0.2.9",
        "forwarded: for=192.0.2.9;proto=https",
        "x-forwarded-proto: https",
        "x-forwarded-host: evil.example",
    ]

    assert seen("192.0.2.1", *headers, networks=networks) == ("192.0.2.1", "http", None)
    assert seen("", *headers, networks=networks) == ("", "http", None)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "unknown",
        "_hidden",
        "192.0.2",
        "999.1.1.1",
        "192.0.2.9, unknown",
        "192.0.2.9, ",
        "192.0.2.9 192.0.2.8",
    ],
)
@pytest.mark.parametrize("header", ["x-forwarded-for: {}", "forwarded: for={}", 'forwarded: for="{}"'])
def test_what_is_no_address_counts_for_nothing(header: str, value: str) -> None:
    """Nor does anything left of it: the client is the last one that is known, which is the proxy."""
    quoted = header.format(value.replace(", ", ", for=") if "for=" in header and '"' not in header else value)

    assert seen("10.0.0.1", quoted)[0] == "10.0.0.1"


@pytest.mark.parametrize(
    ("headers", "scheme", "host"),
    [
        ([], "http", None),
        (["x-forwarded-proto: https", "x-forwarded-host: a.example"], "https", "a.example"),
        (
            ["x-forwarded-proto: HTTPS, http", "x-forwarded-host: a.example:8443, b"],
            "https",
            "a.example:8443",
        ),
        (["x-forwarded-proto: gopher"], "http", None),
        (["forwarded: proto=https;host=a.example"], "https", "a.example"),
    ],
)
def test_a_trusted_proxy_names_scheme_and_host(headers: list[str], scheme: str, host: str | None) -> None:
    """As the client asked for them: the first that is named."""
    assert seen("10.0.0.1", *headers)[1:] == (scheme, host)


def test_limits_count_a_client_once() -> None:
    """An IPv6 client has all addresses of its network; an IPv4 one has one, however it is written."""
    assert limited("2001:db8:1:2:3::4") == limited("2001:db8:1:2::ffff") == "2001:db8:1:2::/64"
    assert limited("2001:db8:1:3::1") != limited("2001:db8:1:2::1")
    assert limited("::ffff:192.0.2.1") == limited("192.0.2.1") == "192.0.2.1"
    assert limited("") == ""


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("127.0.0.1", "127.0.0.1/32"),
        ("10.1.2.3/8, ::1", "10.0.0.0/8,::1/128"),
        (" None ", NONE),
        ("10.0.0.0/8,", None),
        ("proxy.internal", None),
        ("*", None),
    ],
)
def test_networks_are_checked(text: str, kept: str | None) -> None:
    """At the start, and not when a request comes."""
    if kept is None:
        with pytest.raises(ValueError, match="separated by commas"):
            checked_networks(text)
    else:
        assert checked_networks(text) == checked_networks(kept) == kept


@pytest.mark.parametrize(
    ("name", "value", "is_foreign"),
    [
        ("x-forwarded-for", "127.0.0.1", False),
        ("x-forwarded-for", "::1, ::ffff:127.0.0.1", False),
        ("x-forwarded-for", "127.0.0.1, 192.0.2.1", True),
        ("x-forwarded-for", "unknown", True),
        ("x-forwarded-host", "localhost:8081", False),
        ("x-forwarded-host", "feedback.example", True),
        ("forwarded", 'for="[::1]:80"', False),
        ("forwarded", "for=192.0.2.1", True),
        ("x-real-ip", "192.0.2.1", True),
        ("x-forwarded-proto", "https", False),
    ],
)
def test_what_a_proxy_forwards_for_others_is_no_neighbour_s(
    name: str, value: str, *, is_foreign: bool
) -> None:
    """Whoever wrote it: without keys this machine alone is served."""
    assert is_forwarded({name.encode(): value.encode()}) is is_foreign


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("/", ""),
        ("/feedback-ui/", "/feedback-ui"),
        ("/a/b.c~_", "/a/b.c~_"),
        ("feedback", None),
        ("//evil.example", None),
        ("/a//b", None),
        ("/a/../b", None),
        ("/..", None),
        ("/a%2Fb", None),
        ('/a"b', None),
        ("https://example.org/a", None),
    ],
)
def test_a_path_prefix_is_checked(text: str, kept: str | None) -> None:
    """It goes into every link of every page."""
    if kept is None:
        with pytest.raises(ValueError, match="path prefix"):
            checked_root(text)
    else:
        assert checked_root(text) == kept


def test_a_prefix_that_is_a_path_of_ours_is_refused() -> None:
    """Whether it was stripped could not be told."""
    assert apart("/ui/docs", ("docs",)) == "/ui/docs"
    assert apart("", ("docs",)) == ""
    with pytest.raises(ValueError, match="publish it under another prefix"):
        apart("/docs/ui", ("docs",))


@pytest.mark.parametrize(
    ("raw_path", "inner"),
    [
        (b"/ui", b"/"),
        (b"/ui/", b"/"),
        (b"/ui/requests/a%2Fb", b"/requests/a%2Fb"),
        (b"/ui/ui", b"/ui"),
        (b"/uix", b"/uix"),
        (b"/requests/ui", b"/requests/ui"),
        (b"/", b"/"),
    ],
)
def test_a_prefix_may_be_taken_away_already(raw_path: bytes, inner: bytes) -> None:
    """Some proxies strip it and some do not."""
    assert inner_path(b"/ui", raw_path) == inner
