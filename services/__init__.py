"""Afterword's processes, in the order in which the data flows: ingest, merger, sink, query."""
