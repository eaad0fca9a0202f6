"""One browser, one dashboard with keys."""

from tests.support.http.browser import browser
from tests.support.query.dashboard import dashboard

__all__ = ["browser", "dashboard"]
