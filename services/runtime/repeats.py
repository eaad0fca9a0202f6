"""What libraries say again and again, said once in a while with the number of times."""

import logging
import time
from collections.abc import Callable

EVERY_SECONDS = 10.0
"""Between two records from the same place of a library."""


class Repeats(logging.Filter):
    """Lets the first record of each place in the code through, and then one every so many seconds.

    A client library that cannot reach its server says so several times a second, for as long as that lasts.
    A record that follows on others which were held back has their number as `repeated`.  Records of other
    loggers than the library's pass.
    """

    def __init__(
        self, library: str, every: float = EVERY_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(library)
        self._every, self._clock = every, clock
        self._places: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is to be shown.  A handler calls it, one record at a time."""
        if not super().filter(record):
            return True
        place, now = (record.pathname, record.lineno), self._clock()
        until, held = self._places.get(place, (now, 0))
        if now < until:
            self._places[place] = until, held + 1
            return False
        self._places[place] = now + self._every, 0
        if held:
            record.repeated = held
        return True
