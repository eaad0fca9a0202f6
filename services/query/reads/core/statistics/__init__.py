"""Statistics over the latest states, and those of the period before.  Pure; `reads/statistics.py` asks."""
