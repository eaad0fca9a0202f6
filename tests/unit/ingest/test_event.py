"""Event ids and times."""

from datetime import UTC, datetime
from uuid import RFC_4122, UUID

from services.ingest.core.event import Stamp, idempotent_id

NODE = bytes(range(9))
NOON = 1_789_000_000_123_456_789
"""Nanoseconds since 1970."""


def test_an_id_is_a_uuid_of_version_7_with_its_time_in_front() -> None:
    """48 bits of milliseconds, then version and variant where RFC 9562 has them."""
    event_id, _ = Stamp(NODE)(NOON)

    assert (UUID(event_id).version, UUID(event_id).variant) == (7, RFC_4122)
    assert UUID(event_id).int >> 80 == NOON // 1_000_000
    assert event_id == str(UUID(event_id))


def test_the_time_has_microseconds_and_a_z() -> None:
    """RFC 3339 in UTC, of the same reading of the clock."""
    _, received_at = Stamp(NODE)(NOON)

    assert received_at == "2026-09-10T00:26:40.123456Z"
    assert datetime.fromisoformat(received_at) == datetime(2026, 9, 10, 0, 26, 40, 123456, tzinfo=UTC)


def test_ids_are_unique_and_rise_within_a_millisecond() -> None:
    """Also when the clock stands still, and when the counter starts anew at its end."""
    stamp = Stamp(b"\0" * 6 + b"\x00\x00\x00")
    ids = [stamp(NOON)[0] for _ in range(5000)]
    last = Stamp(b"\0" * 6 + b"\xff\xff\xff")

    assert len(set(ids)) == len(ids)
    assert sorted(ids) == ids
    assert all(UUID(last(NOON)[0]).version == 7 for _ in range(3))


def test_two_processes_make_different_ids_at_the_same_time() -> None:
    """Their random bits differ."""
    assert Stamp(NODE)(NOON)[0] != Stamp(bytes(9))(NOON)[0]


def test_an_idempotent_id_is_a_uuid_of_version_8() -> None:
    """Version and variant where RFC 9562 has them, the rest from SHA-256."""
    made = UUID(idempotent_id("acme", "r", "key", 0))

    assert (made.version, made.variant) == (8, RFC_4122)
    assert str(made) == "bfd0f4f0-bd43-8bce-852e-f955f7b33c48"  # for ever: a retry may outlive a release


def test_each_part_of_what_names_an_event_counts() -> None:
    """Tenant, request, key and index; and none can be mistaken for its neighbour."""
    named = [("a", "r", "k", 0), ("b", "r", "k", 0), ("a", "s", "k", 0), ("a", "r", "l", 0)]
    shifted = [("a", "rk", "1", 1), ("a", "r", "k1", 1), ("a", "r", "k", 11), ("a", "r", "k", 1)]

    assert len({idempotent_id(*parts) for parts in named + shifted}) == len(named + shifted)
