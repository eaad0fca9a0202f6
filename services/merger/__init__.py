"""The merger: events in, the latest state of every request out, exactly once.

`__main__` reads the settings, `app` runs Faust, `partition` holds what a worker has for one partition
of the events.  What decides is pure: `events`, `admission`, `merge`, `state`, `batch`, `share`.
"""
