"""`afterword demo`: synthetic demo traffic, marked as such.

`core/traffic.py` generates the calls, from a seed; `core/vocabulary.py` has their words; `run.py` sends them.
"""
