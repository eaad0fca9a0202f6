"""Removing a person's feedback for good, wherever it is: state, tables, history, dead letters.

What is decided is pure: `identity`, `passage`, `coverage`, `erasures`, `statements`, `leftovers`,
`certificate`.  `tables` is ClickHouse, `log` is Kafka; `work` carries out one erasure, `sweep` keeps away
what comes back later.
"""
