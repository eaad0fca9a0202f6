"""`afterword rebuild`: ClickHouse's tables from the log, or the state topic from events.

`run.py` is its face for tables and `states.py` for the state topic.  Read `core/scope.py` (what it is about),
then `shadow_table.py` (a whole table beside live traffic) or `repair.py` (a part of one, in place), and
`requests.py` (one request after the other).  `core/` has the SQL, the plan, the checksum and the comparison.
"""
