"""What any process needs: settings, logs, metrics, exit codes, locks, and clients and servers by protocol.

`kafka` makes every client of Kafka, `clickhouse` sends statements and inserts, `http` serves requests with
limits, keys and probes; `fairness` and `core/quota` divide what a process has among tenants.  Nothing here
knows of feedback, except for names of topics and tables.
Read `settings.py` first, then the guide of the package that you need.
"""
