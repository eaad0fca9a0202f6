"""`afterword recover`: the next generation of topics, filled from all that ClickHouse and Kafka still have.

Read `acts` for the order of the steps.  Pure: `decisions`, `lifting`, `placing`, `view`.  `heirs` asks for
what is known of each request, `leftovers` reads what the old log has and nothing else does.
"""
