"""What crosses a boundary: events, states, topics, dead letters, tables.  Nothing here does any I/O."""
