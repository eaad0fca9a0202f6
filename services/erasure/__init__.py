"""Erases a person's feedback for good: state, tables, history, dead letters; and certifies it.

`run.py` carries out one erasure, and sweeps what is stored later.  `log.py` is Kafka, `tables.py` is
ClickHouse.  `core/erasures.py` decides the next step, `core/statements.py` and `core/leftovers.py` are the
SQL, `core/certificate.py` lists what is retained.  Read `core/erasures.py` first, then `run.py`.
"""
