"""`docker compose up` on a Docker engine, from no image: the first days of a stack.

`make compose-test` runs these, for they need an engine, minutes, and some 4 GB of memory.
"""

import asyncio
import os
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.support.docs.examples import Place, execute_composed
from tests.support.docs.pages import ROOT, examples_of
from tests.support.eventually import eventually
from tests.support.stack.compose_project import CLUSTER, WITHIN, Composed, Engine, composed

COMPOSE_TEST = "COMPOSE_TEST"
pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not os.environ.get(COMPOSE_TEST), reason="needs a Docker engine: make compose-test"),
]
PAGE = ROOT / "docs" / "operations.md"
MOST_BYTES = 160_000_000
"""What the image may add to its base."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The engine, without the image: it is removed before and after."""
    engine = Engine()
    engine.forget_image()
    yield engine
    engine.forget_image()
    engine.client.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Composed]:
    """The stack after its first `up`, with the image built by that; each test leaves it running."""
    unnamed = engine.dangling()
    with composed(tmp_path_factory.mktemp("compose"), "afterword-compose-test") as stack:
        printed = stack.up()
        assert "WARN" not in printed.upper()
        assert engine.dangling() <= unnamed, "the first build leaves no image without a name"
        yield stack


def test_a_first_up_has_every_service_healthy_at_once(stack: Composed) -> None:
    """None was started twice, none is without a check, and each has a limit of memory."""
    containers = stack.containers()

    assert containers.keys() == {"kafka", "clickhouse", "ingest", "merger", "sink", "query"}
    for container in containers.values():
        state = container.attrs["State"]
        assert state["Health"]["Status"] == "healthy"
        assert container.attrs["HostConfig"]["Memory"] > 0


def test_the_image_is_small_and_shows_what_it_is(stack: Composed, engine: Engine) -> None:
    """No installer, no build tools, no user but its own."""
    image = engine.image()
    added = sum(layer["Size"] for layer in image.history() if "buildkit" in layer["Comment"])
    listed = engine.client.containers.run(
        image.id,
        entrypoint=["sh", "-c", "id -u; id -g; ls /opt/afterword/lib/python3*/site-packages"],
        remove=True,
    ).decode()
    uid, gid, *packages = listed.split()

    assert 0 < added < MOST_BYTES
    assert (uid, gid) == ("10001", "10001")
    assert {"pip", "hatchling", "setuptools", "pyarrow"}.isdisjoint(packages)
    assert "Afterword" in image.labels["org.opencontainers.image.title"]
    assert not image.attrs["Config"].get("Healthcheck")


async def test_the_printed_call_stores_a_row(stack: Composed) -> None:
    """The line that the first start prints, in a shell, and its row by SQL with the password that it made."""
    (line,) = [line for line in stack.greeting.splitlines() if line.startswith("Try it: ")]
    answered = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-c", line.removeprefix("Try it: ") + " --silent --show-error --fail"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert answered.returncode == 0, answered.stderr
    assert await stack.stored("chatcmpl-1") == {"rating": 5}


async def test_the_dashboard_lets_the_first_key_in(stack: Composed) -> None:
    """And shows what is stored; exports have Parquet, without a package for it."""
    await stack.post("dashboard-1", {"comment": "shown"})
    await stack.stored("dashboard-1")
    async with httpx.AsyncClient(base_url=stack.url("QUERY_PORT"), follow_redirects=True) as browser:
        asked = await browser.get("/")
        assert asked.url.path == "/sign-in"
        shown = await browser.post("/sign-in", data={"key": stack.key, "next": "/"})
        export = await browser.get("/v1/feedback/export", params={"format": "parquet"})

    assert shown.url.path == "/"
    assert shown.status_code == 200
    assert export.content.startswith(b"PAR1")


async def test_feedback_survives_restarts_and_a_down(stack: Composed) -> None:
    """Of all containers at once, and of their removal: volumes keep rows, keys and the password."""
    await stack.post("restarted-1", {"rating": 1})
    await asyncio.to_thread(stack.compose, "restart")
    await asyncio.to_thread(stack.up)
    assert await stack.stored("restarted-1") == {"rating": 1}

    await asyncio.to_thread(stack.down)
    await asyncio.to_thread(stack.up)

    assert await stack.stored("restarted-1") == {"rating": 1}
    assert "first" in stack.logs("secrets"), "it lists the key that exists"
    assert "aw_" not in stack.logs("secrets"), "and shows no key again"
    async with httpx.AsyncClient(base_url=stack.url("QUERY_PORT")) as client:
        headers = {"Authorization": f"Bearer {stack.key}"}
        assert (await client.get("/v1/feedback/restarted-1", headers=headers)).status_code == 200


@pytest.mark.parametrize("service", ["ingest", "merger", "sink", "query", "kafka", "clickhouse"])
async def test_a_killed_process_comes_back(stack: Composed, service: str) -> None:
    """By -9, as the kernel does it where memory is short: the engine starts it again, and nothing is lost."""
    await stack.post(f"before-{service}", {"rating": 2})
    container = stack.containers()[service]
    starts = container.attrs["RestartCount"]
    await asyncio.to_thread(stack.engine.kill, container)

    def came_back() -> bool:
        container.reload()
        state = container.attrs["State"]
        return bool(container.attrs["RestartCount"] > starts and state["Health"]["Status"] == "healthy")

    await eventually(came_back, within=WITHIN, every=1.0)
    await stack.post(f"after-{service}", {"rating": 3})
    assert await stack.stored(f"before-{service}") == {"rating": 2}
    assert await stack.stored(f"after-{service}") == {"rating": 3}


async def test_the_page_about_containers_is_right(stack: Composed) -> None:
    """Each command of the page, in order, as a reader types it."""
    place = Place(stack.checkout, stack.environment, stack.addresses(), seconds=WITHIN)
    done = 0
    for example in examples_of(PAGE):
        if "compose" in example.block.words:
            await execute_composed(example, place)
            done += 1

    assert done >= 6


def test_a_key_file_that_may_not_be_written_is_one_line(stack: Composed) -> None:
    """In a service that only reads it; the one for commands may."""
    ended = stack.compose("exec", "--no-TTY", "ingest", "afterword", "keys", "create", check=False)

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "/var/lib/afterword-secrets/keys.toml cannot be written (Read-only file system)" in ended.stderr


async def test_an_upgrade_keeps_everything_and_migrates(stack: Composed) -> None:
    """The checkout gets a newer commit with one migration more; the same `up` builds it, and continues."""
    await stack.post("upgraded-1", {"rating": 4})
    await stack.stored("upgraded-1")
    before = stack.sql("SELECT count(), max(number) FROM migrations")
    keys, rows = stack.admin("keys", "list"), stack.sql("SELECT count(), sum(cityHash64(*)) FROM feedback")
    folder = stack.checkout / "schemas" / "clickhouse"
    number = int(max(path.name for path in folder.glob("*.sql"))[:4]) + 1
    newer = folder / f"{number:04}_comment_on_feedback_state.sql"
    newer.write_text("ALTER TABLE feedback_state MODIFY COMMENT 'of a newer release';\n")

    await asyncio.to_thread(stack.up, "--build")

    assert stack.sql("SELECT count(), max(number) FROM migrations") != before
    assert (
        stack.sql("SELECT comment FROM system.tables WHERE name = 'feedback_state'") == "of a newer release"
    )
    assert stack.sql("SELECT count(), sum(cityHash64(*)) FROM feedback") == rows
    assert stack.admin("keys", "list") == keys
    await stack.post("upgraded-2", {"rating": 4})
    assert await stack.stored("upgraded-2") == {"rating": 4}


async def test_a_cluster_continues_without_one_of_each(
    tmp_path_factory: pytest.TempPathFactory, stack: Composed
) -> None:
    """Three brokers and two of each service: one of each is killed, and feedback is taken and stored."""
    await asyncio.to_thread(stack.compose, "stop")
    try:
        with composed(tmp_path_factory.mktemp("cluster"), "afterword-cluster-test", CLUSTER) as cluster:
            await asyncio.to_thread(cluster.up)
            await cluster.post("cluster-1", {"rating": 1})
            assert await cluster.stored("cluster-1") == {"rating": 1}
            gone = ("kafka-2", "ingest", "merger-2", "sink", "query-2")
            await asyncio.to_thread(cluster.compose, "kill", *gone)

            await cluster.post("cluster-2", {"rating": 2}, port="INGEST_2_PORT")
            assert await cluster.stored("cluster-2") == {"rating": 2}

            await asyncio.to_thread(cluster.up)
            await cluster.post("cluster-3", {"rating": 3})
            assert await cluster.stored("cluster-3") == {"rating": 3}
            assert "No differences." in cluster.admin("verify", "--all")
    finally:
        await asyncio.to_thread(stack.up)
