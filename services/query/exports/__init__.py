"""Exports: every row that the filters let through, as a file, however many there are.

    store.blocks -> lines  -> csv_file | ndjson_file | parquet_file -> encodings
    TabSeparated    rows      bytes of the format                      gzip, zstd

`streaming` pulls blocks one by one as the reader takes what became of the one before, so that an export of
any size needs the memory of a few blocks (of a compressed row group, for Parquet).  Rows come in the order of
their request ids, which never change: one that changes meanwhile is there exactly once, and the id of the
last row that a reader has is all that it takes to go on.

A format is one file that encodes, and a row in `formats`.
"""
