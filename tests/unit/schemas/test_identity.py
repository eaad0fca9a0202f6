"""Keys, partitions and versions."""

import zlib

import pytest

from schemas.identity import (
    event_key,
    is_request_id,
    is_tenant,
    partition_of,
    split_key,
    split_version,
    version_of,
)


@pytest.mark.parametrize("tenant", ["a", "acme", "0", "a-b-", "x" * 63])
def test_slugs_name_tenants(tenant: str) -> None:
    """A tenant is a slug of 1 to 63 characters."""
    assert is_tenant(tenant)


@pytest.mark.parametrize("tenant", ["", "-a", "A", "a/b", "a_b", "x" * 64, "a\n", "é"])
def test_anything_else_is_no_tenant(tenant: str) -> None:
    """No capitals, no slash, no line end: the first slash of a key must end the tenant."""
    assert not is_tenant(tenant)


@pytest.mark.parametrize("request_id", ["chatcmpl-1", "a/b", " ", "😀" * 256, "a b", "\u00a0"])
def test_request_ids_are_opaque(request_id: str) -> None:
    """Whatever has 1 to 256 characters and no control characters."""
    assert is_request_id(request_id)


@pytest.mark.parametrize("request_id", ["", "x" * 257, "a\nb", "a\x00", "\x7f", "\x85", "\ud800", "a\n"])
def test_control_characters_make_no_request_id(request_id: str) -> None:
    """Nor do emptiness, excess and lone surrogates."""
    assert not is_request_id(request_id)


def test_a_request_id_may_contain_slashes() -> None:
    """Only the first slash of a key separates."""
    assert split_key(event_key("acme", "a/b/c")) == ("acme", "a/b/c")


@pytest.mark.parametrize("key", [b"", b"acme", b"/x", b"acme/", b"Acme/x", b"acme/\x01", b"acme/\xff"])
def test_foreign_keys_are_refused(key: bytes) -> None:
    """A key that ingest cannot have written has no tenant."""
    with pytest.raises(ValueError):  # noqa: PT011 (UnicodeDecodeError is one, with its own words)
        split_key(key)


def test_the_partition_is_librdkafkas_consistent() -> None:
    """CRC-32 of the key modulo the partition count; the check value of CRC-32 is public."""
    assert zlib.crc32(b"123456789") == 0xCBF43926
    assert partition_of(b"123456789", 12) == 0xCBF43926 % 12


def test_versions_grow_with_generation_before_offset() -> None:
    """A newer topic outranks every offset of an older one."""
    assert version_of(0, 2**48 - 1) < version_of(1, 0)
    assert split_version(version_of(2, 77)) == (2, 77)
