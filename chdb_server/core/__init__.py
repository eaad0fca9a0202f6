"""The pure part: parsing of requests, and the encodings, formats and errors of ClickHouse's interface."""
