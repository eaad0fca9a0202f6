"""Exports: all rows that match the filters, as CSV, NDJSON or Parquet, of any size.

    store.blocks -> rows.RowParser -> text_files | parquet_file -> encoder (gzip, zstd) -> streaming -> client

`streaming` reads blocks at the pace of the client, so memory is bounded by a few blocks (for Parquet, by a
compressed row group).  Rows come by request id, which never changes: a row that changes meanwhile is in the
file exactly once, and the id of the last row is the cursor to resume from.  A format is a `FileEncoder` and
a row in `core/assembly.FORMATS`.  Read `core/rows`, `core/assembly`, `streaming`.
"""
