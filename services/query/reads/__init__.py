"""Reads from ClickHouse: requests, lists, statistics, dead letters.  `core` says what is asked."""
