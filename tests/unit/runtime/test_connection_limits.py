"""What is answered where there are too many connections."""

import pytest

from services.runtime.http.limits import crowded


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        (b"/livez", False),
        (b"/readyz/", False),
        (b"/metrics?name=up", False),
        (b"/livez//", True),
        (b"/feedback/livez", True),
        (b"/", True),
    ],
)
def test_probes_are_answered_in_both_forms_of_their_path(url: bytes, *, is_refused: bool) -> None:
    """Everything else is refused."""
    assert crowded(url) is is_refused
