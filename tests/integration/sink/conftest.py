"""A deployment for each test: its own topics and tables, migrated."""

from tests.support.operations.fixtures import settings

__all__ = ["settings"]
