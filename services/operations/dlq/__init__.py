"""`afterword dlq`: look at dead letters, put them back into their place, or drop them.

What is decided is pure: `letters`, `selection`, `statements`, `corrections`, `decisions`, `advice`, `view`.
`tables` asks ClickHouse, `topics` asks and writes Kafka, `replaying` does what was decided, `acts` puts a
command together.
"""
