"""Asks a running part how it is."""

import asyncio
import json
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from services.local import broker
from services.local.core.kafka_config import LOOPBACK
from services.local.core.supervision import Sight

_TIMEOUT_SECONDS = 2.0
_DETAIL_LENGTH = 200
# Without proxies: a proxy for the world has no business between two processes of this machine.
_open = build_opener(ProxyHandler({})).open


async def kafka(port: int) -> Sight:
    """Ask Kafka.  It is never taken for dead while its process runs: recovery may take its time."""
    ready = await broker.is_ready(port)
    return Sight(ready=ready, alive=True, detail="" if ready else "it does not answer yet")


async def warehouse(port: int) -> Sight:
    """Ask the warehouse, which like Kafka is never taken for dead."""
    status, _ = await asyncio.to_thread(get, port, "/ping")
    return Sight(ready=status == 200, alive=True, detail="" if status == 200 else "it does not answer yet")


async def service(port: int) -> Sight:
    """Ask one of our services by its `/livez` and `/readyz`."""
    status, _ = await asyncio.to_thread(get, port, "/livez")
    if status is None:
        return Sight(ready=False, alive=None, detail="it does not answer")
    readiness, body = await asyncio.to_thread(get, port, "/readyz")
    return Sight(ready=readiness == 200, alive=status != 503, detail=_complaint(body))


def get(port: int, path: str) -> tuple[int | None, bytes]:
    """Return the status and body of a GET on loopback, or None and nothing when nobody answers in time."""
    try:
        with _open(f"http://{LOOPBACK}:{port}{path}", timeout=_TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, HTTPException):
        return None, b""


def _complaint(body: bytes) -> str:
    """Return what the body of a readiness answer says is wrong, in a line."""
    try:
        failing = json.loads(body).get("failing", {})
    except (ValueError, AttributeError):
        return ""
    return "; ".join(f"{name}: {what}" for name, what in failing.items())[:_DETAIL_LENGTH]
