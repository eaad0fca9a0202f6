"""Keys, their file, and which clients are admitted."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.runtime.http.keys import (
    CHECK_SECONDS,
    LOCAL_CALLER,
    Caller,
    Forbidden,
    Guard,
    KeyFile,
    KeyFileError,
    Scope,
    Unauthenticated,
    digest,
    is_loopback,
    parse,
    refusal_to_listen,
)


class Clock:
    """Seconds that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def entry(
    key: str, *, tenant: str = "acme", scopes: str = '["write"]', name: str = "k-1", more: str = ""
) -> str:
    """Return a key as it stands in a file."""
    return (
        f'[[keys]]\nid = "{name}"\nsha256 = "{digest(key)}"\ntenant = "{tenant}"\n'
        f"scopes = {scopes}\ncreated_at = 2026-01-02T03:04:05Z\n{more}\n"
    )


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def write(tmp_path: Path, clock: Clock) -> Callable[[str], None]:
    """Replace the key file, and let the next look be due."""

    def replace(text: str) -> None:
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(tmp_path / "keys.toml")
        clock.now += CHECK_SECONDS

    return replace


@pytest.fixture
def keys(tmp_path: Path, clock: Clock) -> KeyFile:
    """A key file that does not exist yet."""
    return KeyFile(tmp_path / "keys.toml", clock)


@pytest.fixture
def guard(keys: KeyFile) -> Guard:
    """A guard over that file."""
    return Guard(keys)


def test_a_key_is_its_tenant_and_scopes(guard: Guard, write: Callable[[str], None]) -> None:
    """By Bearer, by x-api-key; a scheme of any case."""
    write(entry("secret", scopes='["write", "read"]', more="known_requests = true"))
    expected = Caller("acme", frozenset({Scope.WRITE, Scope.READ}), known_requests=True, key_id="k-1")

    assert guard.caller(authorization=b"Bearer secret") == expected
    assert guard.caller(authorization=b"BEARER secret") == expected
    assert guard.caller(x_api_key=b"secret") == expected
    assert guard.caller(authorization=b"Basic abc", x_api_key=b"secret") == expected


def test_a_key_in_the_path_writes_and_nothing_else(guard: Guard, write: Callable[[str], None]) -> None:
    """Whatever else the key could do: paths end up in logs and in browsers."""
    write(entry("secret", scopes='["admin"]') + entry("reader", scopes='["read"]', name="k-2"))

    assert guard.caller(path_key=b"secret") == Caller("acme", frozenset({Scope.WRITE}), key_id="k-1")
    with pytest.raises(Forbidden):
        guard.caller(path_key=b"reader")
    with pytest.raises(Unauthenticated):
        guard.caller(path_key=b"wrong", authorization=b"Bearer secret")


def test_admin_has_every_scope(guard: Guard, write: Callable[[str], None]) -> None:
    """And write has only its own."""
    write(entry("a", scopes='["admin"]') + entry("w", name="k-2"))
    admin, writer = guard.caller(x_api_key=b"a"), guard.caller(x_api_key=b"w")

    assert all(admin.may(scope) for scope in Scope)
    assert [writer.may(scope) for scope in Scope] == [True, False, False]


@pytest.mark.parametrize("sent", [b"", b"wrong", b"secretx", b"secre", "sécret".encode()])
def test_a_key_that_is_not_in_the_file_is_unauthenticated(
    guard: Guard, write: Callable[[str], None], sent: bytes
) -> None:
    """However near it comes."""
    write(entry("secret"))

    with pytest.raises(Unauthenticated):
        guard.caller(authorization=b"Bearer " + sent)


def test_a_changed_file_is_read_again(guard: Guard, write: Callable[[str], None], clock: Clock) -> None:
    """A new key is let in and a revoked one is not, once the next look is due."""
    write(entry("one"))
    guard.caller(x_api_key=b"one")
    write(entry("two"))
    guard.caller(x_api_key=b"two")
    with pytest.raises(Unauthenticated):
        guard.caller(x_api_key=b"one")

    clock.now -= CHECK_SECONDS / 2
    guard.caller(x_api_key=b"two")


def test_a_file_that_breaks_or_vanishes_changes_nothing(
    guard: Guard, keys: KeyFile, write: Callable[[str], None], clock: Clock
) -> None:
    """The keys last read stay valid, and the service never becomes open."""
    write(entry("one"))
    guard.caller(x_api_key=b"one")
    spoils: tuple[Callable[[], None], ...] = (lambda: write("[[keys]]\nid = 5"), lambda: write("\0"))
    for spoil in (*spoils, keys.path.unlink):
        spoil()
        clock.now += CHECK_SECONDS
        guard.caller(x_api_key=b"one")
        assert keys.problem
        with pytest.raises(Unauthenticated):
            guard.caller(host=b"localhost")
    write(entry("three"))
    guard.caller(x_api_key=b"three")
    assert keys.problem is None


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "\n\n", "[tenants.acme]\nevents_per_second = 5\n"]
)
def test_a_file_that_loses_its_keys_is_damaged(
    guard: Guard, keys: KeyFile, write: Callable[[str], None], text: str
) -> None:
    """It was cut, or is being written: the keys last read stay valid until it says that there are none."""
    write(entry("one"))
    guard.caller(x_api_key=b"one")
    write(text)
    guard.caller(x_api_key=b"one")
    assert keys.refusal() is None
    assert "restore the file" in (keys.warning() or "")
    write("keys = []\n" + text)
    with pytest.raises(Unauthenticated, match="keys create"):
        guard.caller(x_api_key=b"one")
    assert (keys.refusal(), keys.warning()) == (None, None)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "[tenants.acme]\nevents_per_second = 5\n"])
def test_a_file_without_keys_from_the_beginning_admits_no_client_and_explains_what_to_do(
    guard: Guard, keys: KeyFile, write: Callable[[str], None], text: str
) -> None:
    """An empty file is a file: the service is not open, and not ready; the first key ends that."""
    write(text)

    with pytest.raises(Unauthenticated, match="afterword keys create"):
        guard.caller(x_api_key=b"any")
    with pytest.raises(Unauthenticated, match="afterword keys create"):
        guard.caller(host=b"localhost")
    assert refusal_to_listen(keys, "10.0.0.7") is None
    assert "run `afterword keys create`" in (keys.refusal() or "")
    assert keys.warning() is None
    write(entry("one"))
    guard.caller(x_api_key=b"one")
    assert keys.refusal() is None


class Counted(type(Path())):  # type: ignore[misc]
    """A path that counts how often it is read."""

    reads = 0

    def read_text(self, *arguments: Any, **named: Any) -> str:
        """Read the file."""
        type(self).reads += 1
        return str(super().read_text(*arguments, **named))


@pytest.mark.parametrize("text", ["[[keys]]\nid = 5", "\0", "", 'x = "cut'])
def test_each_content_is_read_once(
    tmp_path: Path, clock: Clock, write: Callable[[str], None], text: str
) -> None:
    """However long it stays broken."""
    path = Counted(tmp_path / "keys.toml")
    keys = KeyFile(path, clock)
    write(entry("one"))
    keys.ring()
    write(text)
    before = Counted.reads
    for _ in range(10):
        clock.now += CHECK_SECONDS
        keys.ring()
        assert keys.problem

    assert Counted.reads == before + 1


async def test_many_keys_are_read_beside_the_event_loop(keys: KeyFile, write: Callable[[str], None]) -> None:
    """Ten thousand take their time, in which the loop goes round, and the keys last read are valid."""
    write(entry("one"))
    assert keys.ring()
    write("".join(entry(f"key-{number}", name=f"k-{number}") for number in range(10_000)))
    turns = 0
    async with asyncio.timeout(120):
        while (ring := keys.ring()) is not None and ring.caller(b"key-9999") is None:
            assert ring.caller(b"one")
            await asyncio.sleep(0)
            turns += 1

    assert turns > 100


def test_a_key_ends_at_its_second(tmp_path: Path, clock: Clock, write: Callable[[str], None]) -> None:
    """Without another look at the file."""
    now = 0.0
    keys = KeyFile(tmp_path / "keys.toml", clock, lambda: now)
    write(entry("one", more="expires_at = 1970-01-01T00:01:00Z") + entry("two", name="k-2"))
    ring = keys.ring()
    assert ring is not None
    now = 59.9
    assert ring.caller(b"one")
    now = 60.0
    assert ring.caller(b"one") is None
    assert ring.caller(b"two")


def test_without_a_file_this_machine_is_the_tenant_default(
    guard: Guard, write: Callable[[str], None]
) -> None:
    """Until there is a file: then keys are asked for, without a restart."""
    assert guard.caller(authorization=b"Bearer any", host=b"localhost:1") == LOCAL_CALLER
    assert guard.caller(path_key=b"any", host=b"127.0.0.1") == LOCAL_CALLER
    assert guard.caller() == LOCAL_CALLER
    write(entry("one"))
    with pytest.raises(Unauthenticated):
        guard.caller(host=b"localhost:1")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (b"example.com", None),
        (b"10.0.0.7:8080", None),
        (b"localhost.example.com", None),
        (b"localhost@example.com", None),
        (b"[", None),
        (b"127.0.0.1", b"https://example.com"),
        (b"127.0.0.1", b"null"),
        (b"127.0.0.1", b"file://"),
    ],
)
def test_without_a_file_whatever_comes_from_elsewhere_is_forbidden(
    guard: Guard, host: bytes, origin: bytes | None
) -> None:
    """A page whose name was made to lead here tells its own Host; another page tells its Origin."""
    with pytest.raises(Forbidden):
        guard.caller(host=host, origin=origin)
    with pytest.raises(Forbidden):
        guard.check_neighbour(host, origin)


def test_with_a_file_host_and_origin_do_not_matter(guard: Guard, write: Callable[[str], None]) -> None:
    """The key decides."""
    write(entry("one"))

    guard.caller(x_api_key=b"one", host=b"example.com", origin=b"https://example.com")
    guard.check_neighbour(b"example.com", b"https://example.com")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[keys]", "Expected ']]'"),
        ('[[keys]]\nid = "a"', "sha256"),
        (entry("one", tenant="No Tenant"), "$.keys[0].tenant"),
        (entry("one", scopes='["writes"]'), "writes"),
        (entry("one", scopes="[]"), "scopes"),
        (entry("one", more="knwon_requests = true"), "knwon_requests"),
        ("key = 1", "key"),
        (entry("one") + entry("two"), "two keys have the same id"),
        (entry("one") + entry("one", name="k-2"), "two keys have the same sha256"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_place(text: str, complaint: str) -> None:
    """A key that does less or more than meant is worse than none."""
    with pytest.raises(KeyFileError) as refused:
        parse(text)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("a.localhost", True),
        ("", False),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("192.168.1.1", False),
        ("localhost.com", False),
    ],
)
def test_loopback_is_this_machine_only(host: str, expected: bool) -> None:  # noqa: FBT001
    """Every other address can be reached from elsewhere."""
    assert is_loopback(host) is expected


def test_without_keys_a_service_listens_on_loopback_only(keys: KeyFile, write: Callable[[str], None]) -> None:
    """And says what to do about it; with keys any address will do, with a broken file none."""
    refusal = refusal_to_listen(keys, "0.0.0.0")  # noqa: S104
    assert refusal is not None
    assert "afterword keys create" in refusal
    assert refusal_to_listen(keys, "127.0.0.1") is None
    write("[")
    assert refusal_to_listen(keys, "127.0.0.1") is not None
    write(entry("one"))
    assert refusal_to_listen(keys, "0.0.0.0") is None  # noqa: S104
