"""Clients of Kafka, with every repair of aiokafka that we need.

`clients.py` makes all of them; `undecoded.py` and `tolerant.py` reach into aiokafka, whose private names are
used in this package alone.  `log_reader.py` reads ranges of a topic.
"""
