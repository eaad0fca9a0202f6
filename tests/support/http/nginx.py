"""A real nginx as a proxy of servers of a test."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from services.local.ports import free_port
from tests.support.docs.pages import ROOT, examples_of
from tests.support.eventually import eventually
from tests.support.http.clients import program

AROUND = """
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/error.log notice;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
{part}
}}
"""
"""What Debian's own configuration has around a part such as the one on the page."""


def documented() -> str:
    """Return the configuration that docs/operations.md shows."""
    [part] = [
        one.block.text
        for one in examples_of(ROOT / "docs" / "operations.md")
        if one.block.language == "nginx"
    ]
    return part


@asynccontextmanager
async def proxied(home: Path, ingest: str, query: str, part: str) -> AsyncIterator[str]:
    """Run nginx with a configuration in front of these two addresses, and yield its URL."""
    port = free_port()
    for name, url in (("8080", ingest), ("8081", query)):
        part = part.replace(f"127.0.0.1:{name}", url.removeprefix("http://"))
    part = part.replace("listen 80;", f"listen 127.0.0.1:{port};")
    (home / "nginx.conf").write_text(AROUND.format(home=home, part=part))
    command = [
        program("nginx"),
        "-p",
        str(home),
        "-e",
        str(home / "error.log"),
        "-c",
        str(home / "nginx.conf"),
    ]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)

    async def listens() -> bool:
        assert process.returncode is None, (home / "error.log").read_text()
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        return False

    try:
        await eventually(listens)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
