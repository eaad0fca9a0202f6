"""A deployment for each test: its own topics and tables, migrated."""

from tests.support.operated import settings

__all__ = ["settings"]
