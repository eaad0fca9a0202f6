"""An HTTP/1.1 server on uvicorn with limits, and what services share: keys, probes, problem documents.

`server.py` runs a service.  Its protocol is three classes, each on top of the one before: `request_cycle.py`
(cheaper than uvicorn), `framing.py` (RFC 9112), `bounded.py` (limits).  uvicorn's private names are used in
this package alone, and pinned by a contract test.  Read `server.py` first, then these three in order.
"""
