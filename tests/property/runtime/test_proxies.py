"""Laws of proxies' headers: a client changes nothing but what stands left of its own address."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypothesis import example, given
from hypothesis import strategies as st

from services.runtime.http.core.proxies import Proxies, inner_path, is_forwarded, limited

TRUSTED = "10.0.0.0/8,fd00::/8"
NETWORKS = [ip_network(one) for one in TRUSTED.split(",")]

ADDRESSES = st.ip_addresses().map(str)
TRUSTED_ADDRESSES = st.one_of(*(st.ip_addresses(network=network).map(str) for network in NETWORKS))
STRANGERS = ADDRESSES.filter(lambda one: not any(_plain(one) in network for network in NETWORKS))
HEADER = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=200)
NAMES = st.sampled_from(
    ["x-forwarded-for", "forwarded", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "host"]
)


def _plain(address: str) -> IPv4Address | IPv6Address:
    found = ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found if mapped is None else mapped


@given(HEADER, STRANGERS, st.lists(TRUSTED_ADDRESSES, max_size=3))
@example('"', "192.0.2.1", [])
@example("unknown, ,", "2001:db8::1", ["10.0.0.1"])
def test_what_a_client_writes_does_not_change_who_it_is(
    written: str, client: str, proxies: list[str]
) -> None:
    """Each proxy adds the address that it saw; the last one is the peer."""
    hops = [client, *proxies]
    header = ", ".join([written, *hops]).encode("latin-1")

    found = Proxies(TRUSTED).seen("10.9.9.9", [(b"x-forwarded-for", header)])

    assert found.address == str(_plain(client))


@given(st.lists(st.tuples(NAMES, HEADER), max_size=6), st.one_of(TRUSTED_ADDRESSES, STRANGERS, HEADER))
def test_any_headers_are_read(headers: list[tuple[str, str]], peer: str) -> None:
    """Nothing is raised; whoever is no trusted proxy is itself; what is found is an address, or the peer."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    found = Proxies(TRUSTED).seen(peer, raw)
    is_forwarded(dict(raw))
    limited(found.address)

    assert Proxies("none").seen(peer, raw) == (peer, "http", None)
    assert found.scheme in ("http", "https")
    if found.address != peer:
        assert str(ip_address(found.address)) == found.address


@given(st.sampled_from([b"/ui", b"/a/b.c"]), st.binary(max_size=40).map(lambda path: b"/" + path))
def test_a_prefix_is_taken_away_once(root: bytes, path: bytes) -> None:
    """What stands behind it stays as it is, byte for byte."""
    assert inner_path(root, root + path) == path
