"""Keys that are made and revoked while ingest and query run as processes: known within seconds, by both."""

from functools import partial
from pathlib import Path

import httpx

from services.operations.keys import read_keys, revoke_keys
from services.runtime.http.keys import Scope
from tests.support.eventually import eventually
from tests.support.ingest.app import new_key
from tests.support.stack.offline_services import answers, running


async def test_keys_are_rotated_and_revoked_without_a_restart(tmp_path: Path) -> None:
    """The new key gets in, the old one does not any more, and a live page that began with it ends."""
    old = new_key(tmp_path, Scope.WRITE, Scope.READ)
    [record] = read_keys(tmp_path / "keys.toml")
    async with running("ingest", tmp_path) as ingest, running("query", tmp_path) as query:
        calls = (f"{ingest}/feedback/x", "POST"), (f"{query}/v1/feedback", "GET")
        for url, method in calls:
            await eventually(partial(answers, url, old, 503, method=method))
        async with (
            httpx.AsyncClient(headers={"x-api-key": old}, timeout=60) as client,
            client.stream("GET", f"{query}/live") as page,
        ):
            assert page.status_code == 200
            new = new_key(tmp_path, Scope.WRITE, Scope.READ)
            revoke_keys(tmp_path / "keys.toml", [record.id])
            for url, method in calls:
                await eventually(partial(answers, url, old, 401, method=method))
                assert await answers(url, new, 503, method=method)
            assert "event: signed-out" in "".join([text async for text in page.aiter_text()])
