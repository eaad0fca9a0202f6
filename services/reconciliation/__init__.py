"""Comparing log, state and tables: what was acknowledged, what is stored, what is missing or differs."""
