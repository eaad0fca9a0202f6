"""`afterword send`: the events of a file to ingest, each exactly once, in the file's order per request.

What is sent under which Idempotency-Key depends only on the file, the position in it and the run.  So a batch
with an unknown outcome is sent again unchanged, and ingest recognises what it had accepted:

    files.py -> core/split.py -> core/plan.py          -> lanes.py                -> core/progress.py
    bytes       entries          chunks, batches, keys    one batch per lane at once   what is settled

`core/imports.py` and `core/csv_rows.py` make events of the entries of other systems' exports.
`run.py` is the face, `report.py` shows progress and rejected entries.
"""
