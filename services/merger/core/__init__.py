"""What the merger decides: pure functions, without I/O, clock or randomness."""
