"""Settings of the sink."""

import pytest

from services.runtime.settings import SettingsError, load
from services.sink.settings import SinkSettings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SINK_BATCH_ROWS", "0"),
        ("SINK_BATCH_ROWS", "1000000"),
        ("SINK_BATCH_BYTES", "10"),
        ("SINK_FLUSH_SECONDS", "0"),
        ("SINK_METRICS_PORT", "99999"),
        ("SINK_BATCH_ROW", "5"),
    ],
)
def test_nonsense_is_refused_by_name(variable: str, value: str) -> None:
    """The sink does not start on settings that nobody can have meant."""
    with pytest.raises(SettingsError, match=variable):
        load(SinkSettings, {variable: value})
