"""`afterword rebuild`: makes ClickHouse's tables, and the merger's state, anew from the log."""
