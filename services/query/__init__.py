"""The query service: serves the stored feedback as an HTTP API, as pages, and as files.

`app` is the ASGI application and `service` holds its parts; `api/` has the routes, `dashboard/` the pages.
Both call `reads/`, whose `core/` builds the statements; `exports/` streams files, `live_updates` refreshes
open pages.  Only `store` calls ClickHouse: it limits what a query may cost, and how many run.
Read in this order: `reads/core/filters`, `reads/listing`, `store`, `api/feedback`, `app`.
"""
