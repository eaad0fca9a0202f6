"""Whether a form came from a page of ours, and whether an address is one of ours.  Pure."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Tell whether a request that changes something was made by a page of ours, or by no page at all.

    Every browser of today sends Sec-Fetch-Site, where the address is trustworthy, and Origin with each form.
    What sends neither is no browser, and nobody can make it send another's cookie.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        # Not the scheme: a TLS proxy stands between https there and http here.
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
    except ValueError:
        return False


def local(address: str) -> str:
    """Return an address if it is a path on this host, else `/`."""
    return address if _LOCAL.fullmatch(address) else "/"
