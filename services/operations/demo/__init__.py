"""`afterword demo`: invented traffic that behaves as people do, and says of itself that it is generated."""
