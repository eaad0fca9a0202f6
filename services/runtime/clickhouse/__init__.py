"""The client of ClickHouse, inserts, and the bisection that finds a row that cannot be stored."""
