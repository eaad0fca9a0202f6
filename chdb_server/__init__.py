"""ClickHouse's HTTP interface in front of an embedded ClickHouse engine (chdb), for one machine.

One process owns one directory and listens on loopback only; clickhouse-connect, curl and SQL tools use it as
a server.  Each request runs on an engine connection of its own, so settings, database and bound parameters
never leak into another request.  `serving.run` is the face.  Read `core/request` (from HTTP to a checked
query, with `core/access` and `core/statements`), `app`, `queries` (asynchronous), `execution` (in threads),
`replies`.
"""
