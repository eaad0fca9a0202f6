"""All routes of the query service: one file a subject, one row here."""

from fastapi import APIRouter

from services.query.pages import assets, live, log, one, sign_in
from services.query.routes import documentation, feedback, requests, stats

ROUTERS: tuple[APIRouter, ...] = (
    documentation.router,
    feedback.router,
    stats.router,
    assets.router,
    sign_in.router,
    log.router,
    one.router,
    live.router,
    requests.router,  # after every fixed path below /v1/feedback/
)
"""In the order in which paths are tried."""
