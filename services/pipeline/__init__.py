"""Where every stage of the pipeline is: generations, positions, lag, continuity, refusals.

Used by ingest, merger, sink, query, erasure, the local stack and operations.  `offsets.py` reads one snapshot
of all positions, on which `core/barrier.py` (has it passed all stages?) and `core/watermark.py` (what can be
queried?) decide.  `survey.py` gathers the facts for `core/continuity.py` (may a consumer start?).
Read `core/generation_states.py` first, then `core/snapshot.py`, then `core/continuity.py`.
"""
