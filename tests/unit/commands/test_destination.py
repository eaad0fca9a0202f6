"""What commands show of the address that they send to."""

import pytest

from services.commands.destination import shown


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://user:secret@example.org/feedback-api/", "https://example.org/feedback-api"),
        ("https://example.org/k/aw_secret", "https://example.org/k/***"),
        (
            "https://example.org/feedback-api/k/aw_secret/gptboost",
            "https://example.org/feedback-api/k/***/gptboost",
        ),
    ],
)
def test_an_address_is_shown_with_its_path_and_without_secrets(url: str, text: str) -> None:
    """A path prefix says which installation it is; a user, a password and a key are left out."""
    assert shown(url) == text
