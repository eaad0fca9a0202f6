"""All routes of the query service: one file a subject, one row here."""

from fastapi import APIRouter

from services.query.routes import documentation, feedback

ROUTERS: tuple[APIRouter, ...] = (
    documentation.router,
    feedback.router,
)
"""In the order in which paths are tried."""
