"""Ingest as a tutorial has it: FastAPI, a pydantic model, a dependency for the key, `send_and_wait`.

What the real service is compared with.  It checks less (no depth, no sizes, no numbers out of range).
"""

import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from aiokafka import AIOKafkaProducer
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

KEYS = {hashlib.sha256(os.environ["BENCH_KEY"].encode()).hexdigest(): "default"}


class FeedbackBody(BaseModel):
    """The body."""

    data: dict[str, Any]


class Accepted(BaseModel):
    """The answer."""

    status: str
    request_id: str
    event_id: str
    version: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start and stop the producer."""
    app.state.producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        enable_idempotence=True,
        acks="all",
        max_batch_size=1 << 18,
    )
    await app.state.producer.start()
    yield
    await app.state.producer.stop()


app = FastAPI(lifespan=lifespan)


def tenant_of(key: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    """Return whose key it is."""
    tenant = KEYS.get(hashlib.sha256(key.credentials.encode()).hexdigest())
    if tenant is None:
        raise HTTPException(401)
    return tenant


@app.post("/feedback/{request_id}", status_code=202)
async def post_feedback(
    request_id: str, body: FeedbackBody, tenant: Annotated[str, Depends(tenant_of)], request: Request
) -> Accepted:
    """Write one event, and wait for Kafka."""
    event = {
        "event_id": str(uuid.uuid4()),
        "tenant": tenant,
        "request_id": request_id,
        "received_at": datetime.now(UTC).isoformat(),  # noqa: TID251 (as a tutorial has it)
        "source": "requesty",
        "op": "merge",
        "data": body.data,
    }
    sent = await request.app.state.producer.send_and_wait(
        os.environ.get("BENCH_TOPIC", "feedback-events"),
        orjson.dumps(event),
        key=f"{tenant}/{request_id}".encode(),
    )
    return Accepted(
        status="accepted", request_id=request_id, event_id=event["event_id"], version=str(sent.offset)
    )
