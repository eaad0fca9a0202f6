"""The sink: copies states, events and dead letters from Kafka to ClickHouse, each on a route of its own.

A batch is read, its rows are inserted, then its positions; the group's offsets are committed last.  A crash
at any point repeats work and never skips any, and repeating changes nothing, since rows are idempotent.

The face is `app.run`, called by `__main__`.  Read `core/routes` (what goes where), `core/rows`
(how a record becomes a row), `core/batch` (what is read and not stored yet), `consumer` (the loop of a
route), `store` (the order of writes), `route_runner` (restarts), then `app`.  `watchdog` checks progress from
outside; `leader_tasks` is background work that one sink of the group does.
"""
