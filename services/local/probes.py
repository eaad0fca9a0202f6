"""Probes running parts: whether they are ready, and whether they are alive."""

import asyncio
import json
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from services.local import broker
from services.local.core.kafka_config import LOOPBACK
from services.local.core.supervision import Observation

_TIMEOUT_SECONDS = 2.0
_DETAIL_LENGTH = 200
# Without proxies, which are not for connections between processes of one machine.
_open = build_opener(ProxyHandler({})).open


async def kafka(port: int) -> Observation:
    """Probe Kafka, which counts as alive while its process runs, since its recovery may take long."""
    ready = await broker.is_ready(port)
    return Observation(ready=ready, alive=True, detail="" if ready else "it does not answer yet")


async def warehouse(port: int) -> Observation:
    """Probe the warehouse, which counts as alive while its process runs."""
    status, _ = await asyncio.to_thread(get, port, "/ping")
    return Observation(
        ready=status == 200, alive=True, detail="" if status == 200 else "it does not answer yet"
    )


async def service(port: int) -> Observation:
    """Probe a service by its `/livez` and `/readyz`."""
    status, _ = await asyncio.to_thread(get, port, "/livez")
    if status is None:
        return Observation(ready=False, alive=None, detail="it does not answer")
    readiness, body = await asyncio.to_thread(get, port, "/readyz")
    return Observation(ready=readiness == 200, alive=status != 503, detail=_failing_checks(body))


def get(port: int, path: str) -> tuple[int | None, bytes]:
    """Return the status and body of a GET on loopback; None and an empty body if no response came in time."""
    try:
        with _open(f"http://{LOOPBACK}:{port}{path}", timeout=_TIMEOUT_SECONDS) as response:
            return response.status, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, HTTPException):
        return None, b""


def _failing_checks(body: bytes) -> str:
    """Return the failing checks of a `/readyz` response in one line."""
    try:
        failing = json.loads(body).get("failing", {})
    except (ValueError, AttributeError):
        return ""
    return "; ".join(f"{name}: {reason}" for name, reason in failing.items())[:_DETAIL_LENGTH]
