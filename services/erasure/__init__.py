"""Removing a person's feedback for good: from state, tables, history, dead letters and the compacted topic."""
