"""Probes tell the truth."""

import httpx
import pytest

from services.runtime.http.health import Health, probe_app, serve


async def test_probes_answer_over_http() -> None:
    """Alive and not ready: 200 and 503, with what is wrong in the body."""
    health = Health(readiness={"clickhouse": lambda: "does not answer"})
    async with serve(probe_app(health), "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
        live = await client.get(f"http://127.0.0.1:{port}/livez")
        ready = await client.get(f"http://127.0.0.1:{port}/readyz")
        page = await client.get(f"http://127.0.0.1:{port}/metrics")

    assert (live.status_code, ready.status_code, page.status_code) == (200, 503, 200)
    assert ready.json()["failing"] == {"clickhouse": "does not answer"}
    assert "process_cpu_seconds_total" in page.text


def test_a_warning_fails_no_probe() -> None:
    """It is in the body of readiness, as long as there is one."""
    health = Health(warnings={"keys": lambda: "damaged", "other": lambda: None})

    assert health.ready() == (200, {"status": "ok", "failing": {}, "warnings": {"keys": "damaged"}})
    assert Health(warnings={"keys": lambda: None}).ready() == (200, {"status": "ok", "failing": {}})


def test_what_is_not_alive_is_not_ready() -> None:
    """Readiness includes liveness."""
    health = Health(liveness={"progress": lambda: "stands still"})

    assert (health.live()[0], health.ready()[0]) == (503, 503)


async def test_a_taken_port_is_an_oserror() -> None:
    """Not an exit from deep inside a library."""
    async with serve(probe_app(Health()), "127.0.0.1", 0) as port:
        with pytest.raises(OSError, match="in use"):
            async with serve(probe_app(Health()), "127.0.0.1", port):
                pass
