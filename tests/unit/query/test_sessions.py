"""Which forms and addresses belong to this site, and how often a client may try a key."""

import pytest

from services.query.core.sessions import is_same_origin, local
from services.runtime.http.core.sign_in_limit import SECONDS_EACH, TRIES, SignInLimit


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site", "origin": "http://a:1", "host": "a:1"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"origin": "https://a.example", "host": "a.example"}, True),
        ({"origin": "http://a.example:8081", "host": "a.example:8082"}, False),
        ({"origin": "https://evil.example", "host": "a.example"}, False),
        ({"origin": "null", "host": "a.example"}, False),
        ({"origin": "http://[", "host": "a.example"}, False),
        ({"origin": "", "host": ""}, False),
        ({"host": "a.example"}, True),
    ],
)
def test_a_form_counts_only_from_a_page_of_ours(headers: dict[str, str], is_ours: bool) -> None:  # noqa: FBT001
    """What sends neither header is no browser."""
    assert is_same_origin(headers) is is_ours


@pytest.mark.parametrize("address", ["/", "/?tag=a", "/requests/a%2Fb?x=//y", "/insights#top"])
def test_paths_are_kept_after_the_sign_in(address: str) -> None:
    """With their parameters."""
    assert local(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil",
        "https://evil.example",
        "javascript:alert(1)",
        "/a\nb",
        "/a b",
        "/\t/evil",
        "evil",
    ],
)
def test_redirects_stay_on_this_site(address: str) -> None:
    """To whatever a browser could take for another host."""
    assert local(address) == "/"


def test_wrong_keys_make_an_address_wait_and_no_other() -> None:
    """Some at once, then one in a while; what is tried in vain makes it wait no longer."""
    attempts = SignInLimit()
    assert [attempts.failed("a", 100.0) for _ in range(TRIES)] == [0] * TRIES
    assert [attempts.failed("a", 100.0) for _ in range(3)] == [SECONDS_EACH] * 3
    assert attempts.failed("b", 100.0) == 0
    assert attempts.failed("a", 100.0 + SECONDS_EACH) == 0
    assert attempts.failed("a", 100.0 + SECONDS_EACH) == SECONDS_EACH
    assert attempts.failed("a", 1e6) == 0
