"""Clients of Kafka, with every fix of aiokafka that we need.

`clients.py` makes all of them.  `raw_fetch.py`, `lenient_decoding.py` and `compression.py` replace parts of
aiokafka, whose private names are used in this package alone and pinned by contract tests.  `log_reader.py`
reads ranges of a topic, `outage_probe.py` checks whether Kafka is available.  Read `clients.py` first.
"""
