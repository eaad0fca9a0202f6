"""The merger: folds the events of each request into its latest state, exactly once.

`core` decides: `events` decodes a record, `admission` admits or refuses it, `merge` applies it to a `state`,
`fold` does all of that for a batch.  `partition` makes one Kafka transaction (`transaction`) of a batch:
states, dead letters and the offset; `state_store` keeps states in RocksDB, `recovery` reads them back.
`faust_transport` delivers fetched batches to the agent in `app`; `assignment` opens and closes partitions.

The face is `service.run`, called by `__main__`.  Read `core`, then `partition`, then `app`.
"""
