"""ClickHouse's HTTP interface in front of an embedded ClickHouse engine (chdb).

One process owns one directory, and clickhouse-connect, curl and SQL tools talk to it as to a server.  Each
request runs on an engine connection of its own, so that settings, database and bound parameters never leak
from one request into another.  It is for one machine: it listens on loopback only.
"""
