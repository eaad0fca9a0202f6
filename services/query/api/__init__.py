"""All routes of the query service: one file a subject, one row here."""

from fastapi import APIRouter

from services.query.api import (
    dead_letters,
    documentation,
    erasures,
    export,
    feedback,
    requests,
    stats,
    watermark,
)
from services.query.dashboard import assets, comments, insights, live, log, request_page, sign_in
from services.query.dashboard import dead_letters as dead_letters_page
from services.query.dashboard import pipeline as pipeline_page

ROUTERS: tuple[APIRouter, ...] = (
    documentation.router,
    feedback.router,
    export.router,
    stats.router,
    watermark.router,
    dead_letters.router,
    erasures.router,
    assets.router,
    sign_in.router,
    log.router,
    request_page.router,
    live.router,
    insights.router,
    comments.router,
    dead_letters_page.router,
    pipeline_page.router,
    requests.router,  # after every fixed path below /v1/feedback/
)
"""In the order in which paths are tried."""
