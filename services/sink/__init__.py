"""The sink: copies states, events and dead letters from Kafka to ClickHouse, each on a route of its own.

A batch is read, written, its position stored, its offsets committed: always in this order, so that a crash
at any point repeats work and never skips any.  Rows are idempotent, so repeating changes nothing.
"""
