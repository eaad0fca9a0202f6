"""How brokers of a cluster are struck: killed, lost together, restarted in turn, and away from `migrate`."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any

from chaos.cluster import ClusterStage
from chaos.faults import Fault
from chaos.limits import in_sync
from schemas.topics import Topology
from services.pipeline.survey import admin
from tests.support.kafka.brokers import Node

COPIES = 3
_LOCK = asyncio.Lock()
"""One broker fault at a time: two at once would be another kind."""


async def lose(stage: ClusterStage, fault: Fault, random: Random) -> str:
    """Kill the leader of a partition, a group's coordinator, or the active controller; start it again."""
    async with _LOCK:
        node = await _CHOOSE[fault.target](stage, random)
        await node.kill()
        await asyncio.sleep(fault.seconds)
        await stage.cluster.start()
    return f"broker {node.number}, for {fault.seconds} s"


async def clock(stage: ClusterStage, fault: Fault, random: Random) -> str:
    """Have a broker come back with a wrong clock, and lead partitions, whose events get its append times.

    Its clock does not move while it runs: a node whose clock falls back takes part in no election.
    """
    async with _LOCK:
        wrong, other = random.sample(stage.cluster.nodes, 2)
        hours = random.choice((-1, 1)) * round(random.uniform(1, 30), 1)
        await wrong.kill()
        stage.shift(f"broker-{wrong.number}", hours * 3600)
        try:
            await stage.cluster.start()
            await other.kill()
            await asyncio.sleep(fault.seconds)
            await stage.cluster.start()
            await wrong.kill()
        finally:
            stage.shift(f"broker-{wrong.number}", 0)
        await stage.cluster.start()
    return f"broker {wrong.number} by {hours:+} h, broker {other.number} away for {fault.seconds} s"


async def below(stage: ClusterStage, fault: Fault, random: Random) -> str:
    """Leave fewer copies in sync than a write needs: by a killed broker, or by two of three."""
    async with _LOCK:
        chosen = random.sample(stage.cluster.nodes, 1 if fault.target == "min ISR" else 2)
        if fault.target == "min ISR":
            await in_sync(stage.kafka, COPIES)
        for node in chosen:
            await node.kill()
        await asyncio.sleep(fault.seconds)
        await stage.cluster.start()
        if fault.target == "min ISR":
            await in_sync(stage.kafka, COPIES - 1)
    return f"brokers {', '.join(str(node.number) for node in chosen)} away for {fault.seconds} s"


async def roll(stage: ClusterStage, _fault: Fault, random: Random) -> str:
    """Restart every broker in turn, as an upgrade does."""
    async with _LOCK:
        nodes = random.sample(stage.cluster.nodes, COPIES)
        for node in nodes:
            await node.stop()
            await stage.cluster.start()
    return f"brokers {', '.join(str(node.number) for node in nodes)}"


async def migrate(stage: ClusterStage, _fault: Fault, random: Random) -> str:
    """Run `afterword migrate` while a broker is away; every topic must keep its copies and settings."""
    async with _LOCK:
        node = random.choice(stage.cluster.nodes)
        before = await _layout(stage)
        await node.kill()
        await stage.cluster.knows(*(one.number for one in stage.cluster.nodes if one is not node))
        done = await stage.migrate()
        await stage.cluster.start()
        assert await _layout(stage) == before, f"migrate changed topics: {done.stdout}{done.stderr}"
    return f"without broker {node.number}, exit code {done.returncode}"


async def _layout(stage: ClusterStage) -> dict[str, list[list[int]]]:
    """Return the brokers that hold copies of each partition of our topics."""
    async with admin(stage.kafka, "chaos") as client:
        found = await client.describe_topics([topic.name for topic in Topology().topics])
    layout = {
        topic["topic"]: [
            sorted(one["replicas"]) for one in sorted(topic["partitions"], key=lambda one: one["partition"])
        ]
        for topic in found
    }
    assert all(len(copies) == COPIES for topic in layout.values() for copies in topic), f"too few: {layout}"
    return layout


async def _leader(stage: ClusterStage, random: Random) -> Node:
    """Return the broker that leads a random partition of events."""
    async with admin(stage.kafka, "chaos") as client:
        (topic,) = await client.describe_topics([Topology().events.name])
    return _node(stage, random.choice(topic["partitions"])["leader"])


async def _coordinator(stage: ClusterStage, random: Random) -> Node:
    """Return the broker that coordinates the mergers or the sinks."""
    group = random.choice([one.group for one in Topology().stages])
    async with admin(stage.kafka, "chaos") as client:
        return _node(stage, int(await client.find_coordinator(group)))


async def _controller(stage: ClusterStage, _random: Random) -> Node:
    """Return the node that leads the controllers, which each of them writes down."""
    found: list[dict[str, Any]] = [
        json.loads(path.read_text())
        for node in stage.cluster.nodes
        for path in node.directory.glob("data/__cluster_metadata-0/quorum-state")
    ]
    newest = max(found, key=lambda one: (int(one["leaderEpoch"]), int(one["leaderId"])))
    return _node(stage, int(newest["leaderId"]))


def _node(stage: ClusterStage, number: int) -> Node:
    """Return a broker by its number; any, if the partition has no leader now."""
    return next((node for node in stage.cluster.nodes if node.number == number), stage.cluster.nodes[0])


_CHOOSE: Mapping[str, Callable[[ClusterStage, Random], Awaitable[Node]]] = {
    "leader": _leader,
    "coordinator": _coordinator,
    "controller": _controller,
}
