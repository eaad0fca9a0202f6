"""What `afterword verify`, `rebuild` and `recover` share: what the servers should have, by the log.

Read `core/row_to_event.py` (an event again, from its row), then `core/expected_state.py` (the state that a
request's events yield).
"""
