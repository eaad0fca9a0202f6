"""ClickHouse: its client, statements, inserts, and the bisection that finds a row that cannot be stored.

`client.py` connects, `core/statement.py` keeps values out of the SQL text, `insert.py` stores rows and
classifies failures, `core/bisection.py` decides what a failed insert means.  Read `insert.py` first.
"""
