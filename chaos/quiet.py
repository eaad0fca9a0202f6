"""Waits until merger and sink have nothing left to read."""

import asyncio

from aiokafka.errors import KafkaError

from chaos.stage import Stage
from services.local.watch import log as pipeline

_QUIET_WITHIN = 600.0


class RunFailed(Exception):  # noqa: N818 (it names what happened)
    """The run cannot continue: something never ended, never recovered or never became idle."""


async def quiet(stage: Stage) -> None:
    """Wait until merger and sink have nothing left to read, twice in a row."""
    clock = asyncio.get_running_loop().time
    deadline, calm, lags = clock() + _QUIET_WITHIN, 0, dict[str, int]()
    while calm < 2:
        try:
            async with asyncio.timeout(20), pipeline(stage.settings) as asked:
                lags = {one.name: one.lag for one in (await asked.flow()).stages}
            calm = calm + 1 if not any(lags.values()) else 0
        except (KafkaError, OSError, TimeoutError):
            calm = 0
        if clock() > deadline:
            raise RunFailed(
                f"not everything is stored after {_QUIET_WITHIN:.0f} s without load; behind: {lags}"
            )
        await asyncio.sleep(1)
