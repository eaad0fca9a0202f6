"""What operators and clients do: a package per command, with its face in `run.py` and decisions in `core/`.

Small commands are modules: `keys.py`, `audit.py`, `config.py`.  Shared: `exits.py` (errors and exit codes),
`errors.py`, `confirm.py`, `progress.py`, `destination.py`, `http_client.py` and `transfer.py`.
Operations use the cores of services, the pipeline and the runtime, never the insides of a service.
"""
