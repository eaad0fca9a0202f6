"""A deployment for each test: topics, tables, and a merger of partition 0."""

from tests.support.operations.fixtures import scene, settings, variables

__all__ = ["scene", "settings", "variables"]
