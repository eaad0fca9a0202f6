"""How long the service's questions take over millions of requests, and how many rows they read.

    python -m bench.query.run [--rows 5000000] [--home DIRECTORY] [--rounds 5] [--merge]

It starts a warehouse of its own.  With `--home` the rows stay there for the next call; `--merge` merges them
first, as ClickHouse does with time.  Each question is the service's own, through its own store; caches of
earlier answers are cleared before each.  The engine's CPU time tells more than the clock where other programs
run beside it; it counts each question twice, since the rows are counted by asking again, so half is shown.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from statistics import median

import psutil
from clickhouse_connect.driver.asyncclient import AsyncClient

from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse import tables
from tests.support.clickhouse.volume import BATCH, LARGEST, SMALL, fill
from tests.support.query.app import query_settings
from tests.support.query.read_costs import QUESTIONS, CountingStore, Example
from tests.support.stack.local_servers import OwnWarehouse

PATIENCE = 3600


async def measure(home: Path, rows: int, rounds: int, *, merge: bool) -> None:
    """Print a table for a large tenant, and one for a small one."""
    warehouse = OwnWarehouse(home)
    await warehouse.start()
    try:
        client = await prepared(warehouse.settings, rows)
        if merge:
            await client.command("OPTIMIZE TABLE feedback_state FINAL")
        await client.command("SYSTEM STOP MERGES feedback_state")
        store = CountingStore(query_settings(warehouse.settings, query_max_seconds=60), client)
        await tell(client)
        assert warehouse.child is not None
        engine = psutil.Process(warehouse.child.pid)
        for tenant in (LARGEST, SMALL):
            await report(client, store, tenant, rounds, engine)
        await store.stop()
        await client.close()
    finally:
        await warehouse.stop()


async def prepared(settings: ClickHouseSettings, rows: int) -> AsyncClient:
    """Return a client of a database that has so many requests."""
    first = await connect(settings, database="default")
    await first.command(f"CREATE DATABASE IF NOT EXISTS {settings.clickhouse_database}")
    await first.close()
    client = await connect(settings, timeout_seconds=PATIENCE)
    if not (await client.query("EXISTS feedback_values")).result_rows[0][0]:
        await tables.create_tables(settings)
        say(f"making {rows:,} requests")
        await fill(client, rows, min(BATCH, rows))
    return client


async def tell(client: AsyncClient) -> None:
    """Print what is stored."""
    (found,) = (
        await client.query(
            "SELECT sum(rows), count(), sum(bytes_on_disk) FROM system.parts"
            " WHERE active AND database = currentDatabase() AND table = 'feedback_state'"
        )
    ).result_rows
    (requests,) = (await client.query("SELECT count() FROM feedback")).result_rows[0]
    say(
        f"{requests:,} requests, {found[0]:,} rows in {found[1]} parts, {found[2] / found[0]:.0f} bytes a row"
    )


async def report(
    client: AsyncClient, store: CountingStore, tenant: str, rounds: int, engine: psutil.Process
) -> None:
    """Ask each question some times, and print the medians."""
    (count, one) = (
        await client.query(f"SELECT count(), max(request_id) FROM feedback WHERE tenant = '{tenant}'")
    ).result_rows[0]
    say(f"\na tenant with {count:,} requests")
    say(f"{'question':22}{'median ms':>10}{'worst':>8}{'CPU ms':>8}{'rows read':>12}{'MB':>8}")
    for name, question in QUESTIONS.items():
        seconds, work = [], []
        for _ in range(rounds):
            await client.command("SYSTEM DROP QUERY CONDITION CACHE")
            store.costs.clear()
            before = cpu(engine)
            await question(store, Example(tenant, one))
            work.append((cpu(engine) - before) / 2 * 1000)
            seconds.append(sum(cost.seconds for cost in store.costs) * 1000)
        read, size = (sum(getattr(cost, what) for cost in store.costs) for what in ("rows", "bytes"))
        took = f"{median(seconds):10.0f}{max(seconds):8.0f}{median(work):8.0f}"
        say(f"{name:22}{took}{read:12,}{size / 1e6:8.1f}")


def cpu(engine: psutil.Process) -> float:
    """Return the CPU seconds of the engine so far."""
    times = engine.cpu_times()
    return float(times.user + times.system)


def say(line: str) -> None:
    """Print a line of the report."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--merge", action="store_true")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = wanted.home or Path(temporary)
        asyncio.run(measure(home, wanted.rows, wanted.rounds, merge=wanted.merge))


if __name__ == "__main__":
    main()
