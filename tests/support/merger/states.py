"""What a row of the state topic says, for comparison with the oracle."""

import json

from schemas.state import FeedbackState
from tests.support.oracles.merge import Truth


def shown(row: bytes) -> Truth:
    """Return the public part of a row."""
    fields = json.loads(row)
    if fields.get("is_deleted"):
        return Truth(fields["erased"], deleted=True)
    state = FeedbackState.model_validate(fields)
    return Truth(
        state.version,
        deleted=False,
        first_received_at=state.first_received_at,
        last_received_at=state.last_received_at,
        sources=state.sources,
        data=fields["data"],
        request=fields["request"],
    )
