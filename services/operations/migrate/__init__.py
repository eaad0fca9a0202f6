"""`afterword migrate`: create and update tables and topics, and record which Kafka belongs to which tables.

`run.py` is the face: the steps of a migration, and their report.  `core/plan.py` decides what is missing or
wrong, `core/retention.py` what a changed retention deletes.  `servers.py` calls Kafka and ClickHouse,
`retention.py` applies retentions, and `sql_users.py` manages the SQL users of tenants.
"""
