"""The local stack: a real Kafka, a real ClickHouse engine and all services, without Docker and Java.

`stack.run` is the face: it prepares the directory (`home`), checks ports and kills orphans (`orphans`), then
hands the parts (`runners`) to the `supervisor`, which starts, restarts and stops them, while `screens` shows
what happens.  `status` reports on a running stack, from the supervisor's records (`home`) and the servers
(`gauge`, `watch`).  Read `core/plan` (the parts and their order), `core/supervision` (a part's life cycle),
`supervisor`, then `stack`.
"""
