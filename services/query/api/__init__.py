"""The HTTP API, and the table of all routes: one module a subject, one row here."""

from fastapi import APIRouter

from services.query import live_updates
from services.query.api import dead_letters, erasures, feedback, openapi, stats, watermark
from services.query.dashboard import dead_letters as dead_letters_page
from services.query.dashboard import insights, log, render, request_page, sign_in
from services.query.dashboard import pipeline as pipeline_page

ROUTERS: tuple[APIRouter, ...] = (
    openapi.router,
    feedback.router,
    stats.router,
    watermark.router,
    dead_letters.router,
    erasures.router,
    render.router,
    sign_in.router,
    log.router,
    request_page.router,
    live_updates.router,
    insights.router,
    dead_letters_page.router,
    pipeline_page.router,
)
"""In the order in which paths are matched."""
