"""`afterword dlq`: list dead letters, replay them at their original position, or drop them.

`run.py` is the face: one function per command.  `core/decisions.py` decides what a replay does with a dead
letter, `replay.py` carries it out, batch by batch, and `tables.py` reads and marks dead letters.
Read `core/dead_letter.py` first, then `core/decisions.py`.
"""
