"""Does ClickHouse have what the log has?  Shared by `afterword verify` and by a task of the sink.

`continuous.py` checks the log at a low rate, behind what the sink has stored.  In `core/`: `events.py` (the
row that a record must have become), `missing_events.py` (whether one is really missing), `remedies.py` (which
command fixes a difference).
"""
