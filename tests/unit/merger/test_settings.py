"""Settings of the merger."""

import pytest

from services.merger.settings import MergerSettings
from services.runtime.settings import SettingsError, load


def test_nonsense_in_the_settings_is_refused_at_once() -> None:
    """Every mistake, and a variable that nobody knows."""
    with pytest.raises(SettingsError) as caught:
        load(MergerSettings, {"MERGER_STALL_SECONDS": "0", "MERGER_COMPRESSION": "rar", "MERGER_X": "2"})

    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == [
        "MERGER_X",
        "MERGER_COMPRESSION",
        "MERGER_STALL_SECONDS",
    ]
