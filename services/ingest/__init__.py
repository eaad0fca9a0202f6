"""HTTP in, events on the log: checked once at the door, answered only after Kafka has them."""
