"""Where every stage of the pipeline is: generations, positions, lag, continuity, refusals.

Used by ingest, merger, sink, query, the local stack and operations.  `core` decides, on values alone;
`survey.py` gathers what it decides on.  Read `core/generation_states.py` first, then `core/continuity.py`.
"""
