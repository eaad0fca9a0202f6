"""Scores a trace, an observation and a session, and traces a generation, with Langfuse's Python client.

Versions 2 to 5: what the later ones lack is left out by the version.
"""

import logging
from importlib.metadata import version

from langfuse import Langfuse
from report import arguments, call

logging.basicConfig(level=logging.WARNING)

address, key, run = arguments()
major = int(version("langfuse").split(".")[0])
client = Langfuse(public_key="pk-lf-any", secret_key=key, **{"base_url" if major >= 4 else "host": address})
score = client.score if major == 2 else client.create_score
trace_id = f"{run:0>32}"

call("auth_check", client.auth_check)
call(
    "score of a trace",
    lambda: score(
        name="accuracy",
        value=0.9,
        trace_id=trace_id,
        comment="nearly right",
        data_type="NUMERIC",
        **{"id" if major == 2 else "score_id": f"{run}-accuracy"},
    ),
)
call(
    "score in words", lambda: score(name="tone", value="friendly", trace_id=trace_id, data_type="CATEGORICAL")
)
call(
    "score of an observation",
    lambda: score(
        name="helpful", value=1, trace_id=trace_id, observation_id=f"{run:0>16}", data_type="BOOLEAN"
    ),
)
if major >= 3:
    call("score of a session", lambda: score(name="solved", value=1, session_id=f"{run}-session"))
if major == 2:
    trace = client.trace(id=f"{run}-trace", name="chat", user_id="u-1", session_id="s-1")
    generation = trace.generation(
        id=f"{run}-generation",
        name="answer",
        model="gpt-4o",
        input=[{"role": "user", "content": "Why?"}],
        usage={"input": 12, "output": 5},
    )
    generation.end(output="Because.")
    call("score of the generation", lambda: generation.score(name="helpful", value=1))
else:
    with client.start_as_current_observation(
        as_type="generation", name="answer", model="gpt-4o"
    ) as generation:
        generation.update(
            input=[{"role": "user", "content": "Why?"}],
            output="Because.",
            usage_details={"input": 12, "output": 5},
            cost_details={"total": 0.25},
        )
        call("score of the generation", lambda: generation.score(name="helpful", value=1))
        call("ids", lambda: {"trace_id": generation.trace_id, "span_id": generation.id})
call("flush", client.flush)
