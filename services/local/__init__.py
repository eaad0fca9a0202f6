"""The local stack: a real Kafka, a real ClickHouse engine and a supervisor, with nothing to install."""
