"""`afterword verify`: is what the log has in the state topic and in ClickHouse, and correct?

The order of the questions is what makes the answer right under live traffic: (1) what is promised, the
positions that merger and sink have stored; (2) what ClickHouse has, which may since be more; (3) where the
logs end, and then the logs, which explain everything that was read before.  So whatever is promised must be
there, whatever is there must be explained, and the rest is on its way.

Read `run.py` (the steps), `core/snapshot.py` (positions), `core/compare.py` (one request), `core/report.py`.
"""
