"""Sends a boolean, a number and a comment with TensorZero's client."""

from uuid import UUID, uuid5

from report import arguments, call
from tensorzero import TensorZeroGateway

address, key, run = arguments()
inference_id = uuid5(UUID(int=0), run)

with TensorZeroGateway.build_http(gateway_url=address, api_key=key, verbose_errors=True) as client:
    call("inference", lambda: str(inference_id))
    call("boolean", lambda: client.feedback(metric_name="helpful", value=True, inference_id=inference_id))
    call("number", lambda: client.feedback(metric_name="quality", value=0.75, inference_id=inference_id))
    call("comment", lambda: client.feedback(metric_name="comment", value="Long", inference_id=inference_id))
    call(
        "dry run",
        lambda: client.feedback(metric_name="helpful", value=False, inference_id=inference_id, dryrun=True),
    )
