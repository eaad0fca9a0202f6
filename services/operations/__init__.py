"""What operators and clients do, a package each: its face is `run.py`, its decisions are in `core/`.

Shared by them: `confirm.py`, `progress.py`, `exits.py`, `errors.py`, `destination.py`.  They use the cores of
services, the pipeline and the runtime, never the insides of a service.
"""
