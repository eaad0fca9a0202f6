"""`afterword send`: a file's events to ingest, each exactly once, in the file's order per request.

What is sent, and under which Idempotency-Key, depends only on the file, the place in it and the run, so
a batch whose outcome is unknown is sent again as it was, and ingest recognises what it had already taken:

    reading  -> split   -> chunks -> plan           -> lanes                 -> progress
    bytes       entries    pieces    batches, keys     one in flight a lane     what never needs sending again
"""
