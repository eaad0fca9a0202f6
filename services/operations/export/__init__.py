"""`afterword export`: the rows that match filters, into a file, each once, also after a cut.

    core/query.py -> run.py  -> core/records.py -> output.py
    parameters       bytes      whole records      the file once it is complete, until then its `.partial`

The server sends rows in the order of request ids.  So a cut transfer resumes behind the last whole record,
and the trailer, which is requested with every one, shows whether any row is missing.
"""
