"""Accepts feedback over HTTP and appends it to the events topic; answers success only after Kafka has it.

Faces: `app.py` (the ASGI application and its parts), `event_log.py` (what ingest needs of the log).  Read one
request in the order in which it runs: `app`, `core/router`, `handler`, `body` with `core/content`, a file in
`dialects/` with `core/validation`, `single` or `bulk`, `event_builder` with `core/event`, then `publisher`,
`producer` and `accumulator`.  Limits of tenants are `runtime/fairness` and `runtime/core/quota`;
`known_requests` looks stored rows up.
"""
