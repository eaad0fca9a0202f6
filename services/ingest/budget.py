"""Bytes that may be held at once.  Pure."""


class Budget:
    """Counts bytes against a limit.  Whoever takes gives back exactly what it took."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, count: int) -> bool:
        """Take so many bytes, or nothing if that is too many."""
        if self.used + count > self.limit:
            return False
        self.used += count
        return True

    def give(self, count: int) -> None:
        """Give bytes back."""
        self.used -= count
