"""`afterword resize`: more partitions, or fewer, through a new generation of the topics.

`run.py` takes the steps that `core/plan.py` calls for, `migration.py` knows how to do each.  `switch.py`
creates, closes, fences and opens a generation, and `ledger.py` compares the states of both.
"""
