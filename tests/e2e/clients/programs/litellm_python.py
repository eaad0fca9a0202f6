"""Logs a completion that is made up by LiteLLM itself, with its cost, by the generic logger."""

import asyncio
import os

from report import arguments, call

address, key, run = arguments()
os.environ["GENERIC_LOGGER_ENDPOINT"] = f"{address}/logs"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the internet for prices
os.environ["GENERIC_LOGGER_HEADERS"] = f"Authorization=Bearer {key}"

import litellm  # reads the environment
from litellm.integrations.generic_api.generic_api_callback import GenericAPILogger


async def complete() -> str:
    """Return the id of a completion, once its log was sent."""
    logger = GenericAPILogger()
    litellm.callbacks = [logger]
    answer = await litellm.acompletion(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Why?"}],
        mock_response="Because.",
        user=f"user-{run}",
    )
    await asyncio.sleep(1)  # litellm queues its logs in tasks that nothing awaits
    await logger.async_send_batch()
    return str(answer.id)


call("completion", lambda: asyncio.run(complete()))
