"""A bounded HTTP/1.1 server on uvicorn, with keys, probes and the problem documents of the API.

uvicorn's private names are used in this package alone.  Read `server.py` first, then `bounded.py`.
"""
