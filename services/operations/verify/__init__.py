"""`afterword verify`: is what the log has in the state topic and in ClickHouse, and as it should be?

The order in which things are asked is what makes the answer right while everything goes on:

1. what is promised: the positions that merger and sink have stored;
2. what ClickHouse has, which may since be more;
3. where the logs end, and then the logs, which explain everything that was read before.

So whatever is promised must be there, and whatever is there must be explained; the rest is on its way.

Pure: `selection`, `cut`, `evidence`, `statements`, `rebuilt`, `truth`, `judge`, `rows`, `walk`, `report`,
`view`.  `positions`, `tables` and `letters` ask the servers, `spill` keeps what does not fit into memory,
`acts` puts the command together.
"""
