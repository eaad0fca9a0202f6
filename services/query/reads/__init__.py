"""Reads from ClickHouse: lists, one request with its history, statistics, dead letters.

Each subject is a pair: `core/X` builds the statements and turns rows into answers, `X` runs them.
Start with `core/filters` (what a client asks for) and `core/sql` (the WHERE clause), then `listing`.
"""
