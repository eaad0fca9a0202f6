"""`afterword migrate`: makes the tables and the topics, and records which Kafka belongs to which tables."""
