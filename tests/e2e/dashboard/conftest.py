"""One browser, one dashboard with keys."""

from tests.support.browser import browser
from tests.support.dashboard import dashboard

__all__ = ["browser", "dashboard"]
