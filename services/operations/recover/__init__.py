"""`afterword recover`: the next generation of topics, filled from all that ClickHouse and Kafka still have.

`run.py` has the steps in their order.  `request_states.py` finds what is known of each request and
`core/joined_state.py` makes one state of it; `leftovers.py` reads what only the old log has, and
`core/placement.py` decides at which version that counts.
"""
