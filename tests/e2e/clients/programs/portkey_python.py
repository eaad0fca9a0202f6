"""Creates feedback, alone and in bulk, and changes it, with Portkey's client."""

from portkey_ai import Portkey
from report import arguments, call

address, key, run = arguments()
client = Portkey(api_key=key, base_url=f"{address}/v1")

made = call(
    "create",
    lambda: client.feedback.create(
        trace_id=f"{run}-a", value=5, weight=0.5, metadata={"text": "good", "_user": "u-1"}
    ),
)
call(
    "bulk",
    lambda: client.feedback.bulk_create(
        feedbacks=[{"trace_id": f"{run}-b", "value": 1}, {"trace_id": f"{run}-c", "value": -1}]
    ),
)
if made is not None:
    call("update", lambda: client.feedback.update(feedback_id=made.feedback_ids[0], value=-5))
call("out of range", lambda: client.feedback.create(trace_id=f"{run}-d", value=50))
