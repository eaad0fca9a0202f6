"""The client of a request behind proxies, and the path prefix that a service is published under."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Headers = Iterable[tuple[bytes, bytes]]

NONE = "none"
"""The setting that trusts no proxy."""

LIMITED_BITS = 64
"""Of an IPv6 address, what limits count by: one client has all addresses of such a network."""

LONGEST_ADDRESS = 100
"""Characters of an address, zone and port included."""

FORWARDING = (b"x-forwarded-for", b"forwarded", b"x-forwarded-host", b"x-real-ip")
"""Headers by which proxies name the client, or the host that it asked for."""

_PORT = re.compile(r"\[(?P<six>[^\]]+)\](?::[0-9]+)?|(?P<four>[0-9.]+):[0-9]+")
_PAIR = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^";,\s]*)\s*')


class Visitor(NamedTuple):
    """A request as its client made it, by what trusted proxies report.  `host` None: that of the request."""

    address: str
    scheme: str
    host: str | None = None


class Proxies:
    """Finds the client of a request, given the networks of the proxies that are trusted."""

    def __init__(self, networks: str) -> None:
        self._networks = [] if networks == NONE else [ip_network(one) for one in networks.split(",")]

    def seen(self, peer: str, headers: Headers) -> Visitor:
        """Return the client of a request that the address `peer` sent.

        That is the rightmost address that is not a trusted proxy's: what precedes it, the client may
        have forged.  What is no address ends the search, and counts for nothing.
        """
        if not self._trusts(_address(peer)):
            return Visitor(peer, "http")
        found: dict[bytes, list[str]] = {name: [] for name in (*FORWARDING, b"x-forwarded-proto")}
        for name, value in headers:
            if name in found:
                found[name].append(value.decode("latin-1"))
        if found[b"x-forwarded-for"]:
            hops = [one.strip() for value in found[b"x-forwarded-for"] for one in value.split(",")]
            address = self._outermost(peer, hops)
        else:
            elements = [element for value in found[b"forwarded"] for element in _elements(value)]
            address = self._outermost(peer, [element.get("for", "") for element in elements])
            found[b"x-forwarded-proto"] += [element["proto"] for element in elements if "proto" in element]
            found[b"x-forwarded-host"] += [element["host"] for element in elements if "host" in element]
        return Visitor(
            address,
            "https" if _first(found[b"x-forwarded-proto"]).lower() == "https" else "http",
            _first(found[b"x-forwarded-host"]) or None,
        )

    def _outermost(self, peer: str, hops: list[str]) -> str:
        client = peer
        for hop in reversed(hops):
            address = _address(hop)
            if address is None:
                break
            client = str(address)
            if not self._trusts(address):
                break
        return client

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def checked_networks(text: str) -> str:
    """Return a list of networks as it is kept, or `none`; ValueError names what is no network."""
    if text.strip().lower() == NONE:
        return NONE
    try:
        return ",".join(str(ip_network(one.strip(), strict=False)) for one in text.split(","))
    except ValueError as error:
        raise ValueError(f"{error}; give networks such as 10.0.0.0/8, separated by commas, or none") from None


def limited(address: str) -> str:
    """Return what limits of strangers count by: an IPv4 address, or an IPv6 network of 64 bits."""
    found = _address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, LIMITED_BITS), strict=False))
    return address if found is None else str(found)


def is_forwarded(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether forwarding headers name a client, or a host, that is not this machine."""
    named = [headers[name].decode("latin-1") for name in FORWARDING if name in headers]
    return bool(named) and not all(_is_here(one) for one in named)


def _is_here(value: str) -> bool:
    if "=" in value:
        hops = [element.get("for", "") for element in _elements(value)]
    else:
        hops = [one.strip() for one in value.split(",")]
    return all(_is_loopback(hop) for hop in hops)


def _is_loopback(hop: str) -> bool:
    name = hop.rpartition(":")[0] if hop.count(":") == 1 else hop
    address = _address(hop)
    return name.lower() == "localhost" if address is None else address.is_loopback


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, with or without a port; an IPv4 one that is written as IPv6 is what it is."""
    return _read_address(text) if len(text) <= LONGEST_ADDRESS else None


@lru_cache(4096)
def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    bare = _PORT.fullmatch(text)
    if bare is not None:
        text = bare["six"] or bare["four"]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _elements(value: str) -> Iterator[dict[str, str]]:
    """Yield the elements of a Forwarded header (RFC 7239); one that cannot be read is empty."""
    for element in re.findall(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', value):
        found = {}
        for pair in element.split(";"):
            read = _PAIR.fullmatch(pair)
            if read is not None:
                found[read[1].lower()] = read[2].strip('"')
        yield found


def _first(values: list[str]) -> str:
    return values[0].partition(",")[0].strip() if values else ""


def checked_root(text: str) -> str:
    """Return a path prefix as it is kept, without a slash at its end; ValueError for what can be none."""
    root = text.rstrip("/")
    if root and not re.fullmatch(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+", root):
        raise ValueError("a path prefix is like /feedback-ui: letters, digits and . _ ~ - between slashes")
    return root


def apart(root: str, taken: Iterable[str]) -> str:
    """Return a path prefix that cannot be taken for a path of the service; ValueError for another.

    `taken` are the first segments of its paths: behind a proxy that strips the prefix, and behind one that
    does not, the same path would mean two things.
    """
    first = root.split("/")[1] if root else ""
    if first in taken:
        raise ValueError(f"/{first} is a path of the service itself; publish it under another prefix")
    return root


def inner_path(root: bytes, raw_path: bytes) -> bytes:
    """Return a path without the prefix `root`; a path that does not begin with it stays as it is."""
    if raw_path == root:
        return b"/"
    return raw_path[len(root) :] if raw_path.startswith(root + b"/") else raw_path
