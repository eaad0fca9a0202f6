"""Annotates spans with Phoenix's client."""

from phoenix.client import Client
from report import arguments, call

address, key, run = arguments()
client = Client(base_url=address, api_key=key)

call(
    "annotation",
    lambda: client.spans.add_span_annotation(
        span_id=f"{run:0>16}",
        annotation_name="helpful",
        annotator_kind="HUMAN",
        label="yes",
        score=1.0,
        explanation="It worked",
        sync=True,
    ),
)
