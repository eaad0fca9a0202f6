"""`afterword keys`, on real files."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.cli.keys import app
from services.operations.keys import create_key, read_file, read_keys
from services.runtime.http.keys import CHECK_SECONDS, Guard, KeyFile, KeyRing, Scope, Unauthenticated, digest
from tests.support.operations.command import afterword


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the audit log is."""
    monkeypatch.setenv("AFTERWORD_HOME", str(tmp_path / "operator"))
    return tmp_path / "operator"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A key file that does not exist yet, in a directory that does not either."""
    return tmp_path / "home" / "keys.toml"


def run(path: Path, *arguments: str) -> Result:
    """Run a command on the file."""
    return CliRunner().invoke(app, [*arguments, "--file", str(path)])


def test_create_prints_the_key_once_and_stores_its_digest(path: Path) -> None:
    """Standard output is the key and nothing else, for scripts."""
    result = run(path, "create", "--name", 'shop "1" ü', "--tenant", "acme")
    key = result.stdout.strip()

    assert result.exit_code == 0
    assert key.startswith("aw_")
    assert len(key) > 40
    assert key not in path.read_text()
    assert digest(key) in path.read_text()
    [record] = read_keys(path)
    assert (record.tenant, record.scopes, record.name) == ("acme", (Scope.WRITE,), 'shop "1" ü')
    assert record.id in result.stderr


def test_the_file_is_its_owners_alone(path: Path) -> None:
    """Also after it was rewritten, and no temporary file is left."""
    for _ in range(2):
        run(path, "create")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {entry.name for entry in path.parent.iterdir()} == {"keys.toml", ".keys.toml.lock"}


def test_what_create_made_lets_its_owner_in(path: Path) -> None:
    """The scopes and the setting are those that were asked for."""
    made = run(path, "create", "--scope", "read", "--scope", "admin", "--scope", "read", "--known-requests")
    caller = Guard(KeyFile(path, lambda: 0.0)).caller(x_api_key=made.stdout.strip().encode())

    assert caller.scopes == {Scope.READ, Scope.ADMIN}
    assert caller.known_requests


def test_list_shows_everything_but_the_keys(path: Path) -> None:
    """Ids, for revoking."""
    key = run(path, "create", "--name", "website").stdout.strip()
    shown = run(path, "list").stdout

    assert read_keys(path)[0].id in shown
    assert "website" in shown
    assert key not in shown
    assert digest(key) not in shown


@pytest.mark.parametrize(
    "arguments", [("create",), ("revoke", "k-1"), ("limit", "acme", "--default"), ("list",)]
)
@pytest.mark.parametrize(
    "hindrance", ["a directory in the place of the file", "a file in the place of its directory"]
)
def test_a_key_file_that_cannot_be_used_is_one_line(
    path: Path, hindrance: str, arguments: tuple[str, ...]
) -> None:
    """Which file, why not, and what to do; as on the read-only volume of a container."""
    if hindrance.startswith("a file"):
        path.parent.write_text("")
    else:
        path.mkdir(parents=True)
        path.with_name(f".{path.name}.lock").mkdir()
    ended = afterword("keys", *arguments, environ={"AFTERWORD_KEYS_FILE": str(path)})

    assert ended.code == 1
    assert ended.err.startswith(f"{path} cannot be ")
    assert len(ended.err.splitlines()) == 1
    assert ended.out == ""


def test_revoke_removes_just_these_keys_and_keeps_comments(path: Path) -> None:
    """What people wrote into the file stays."""
    for name in ("one", "two", "three"):
        run(path, "create", "--name", name)
    path.write_text(path.read_text().replace('name = "two"', 'name = "two"  # ask Ada before revoking'))
    one, two, three = (record.id for record in read_keys(path))
    result = run(path, "revoke", one, three)

    assert result.exit_code == 0
    assert [record.id for record in read_keys(path)] == [two]
    assert "# ask Ada" in path.read_text()


@pytest.mark.parametrize("tenants", [False, True], ids=["keys alone", "and limits of a tenant"])
def test_revoking_the_last_key_shows_that_none_remain(path: Path, *, tenants: bool) -> None:
    """A running service takes it for no accident; the next key is added as ever."""
    key = run(path, "create", "--tenant", "acme").stdout.strip()
    if tenants:
        run(path, "limit", "acme", "--events-per-second", "5")
    keys = KeyFile(path, count(0.0, CHECK_SECONDS).__next__)
    assert Guard(keys).caller(x_api_key=key.encode()).tenant == "acme"
    [record] = read_keys(path)
    assert run(path, "revoke", record.id).exit_code == 0
    assert read_keys(path) == ()
    with pytest.raises(Unauthenticated, match="no keys"):
        Guard(keys).caller(x_api_key=key.encode())
    assert keys.problem is None
    other = run(path, "create", "--tenant", "acme").stdout.strip()
    assert Guard(keys).caller(x_api_key=other.encode()).tenant == "acme"
    assert run(path, "revoke", *(one.id for one in read_keys(path))).exit_code == 0
    assert ("acme" in read_file(path).tenants) is tenants


def test_revoking_an_unknown_key_revokes_nothing(path: Path) -> None:
    """One mistyped id must not go unnoticed among others."""
    run(path, "create")
    known = read_keys(path)[0].id
    result = run(path, "revoke", known, "k-nope")

    assert result.exit_code != 0
    assert "k-nope" in str(result.exception)
    assert [record.id for record in read_keys(path)] == [known]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["create", "--tenant", "Acme"], "no valid tenant"),
        (["list"], "no key file"),
        (["revoke", "k-1"], "no key file"),
    ],
)
def test_what_cannot_work_reports_why(path: Path, arguments: list[str], complaint: str) -> None:
    """And makes no file."""
    result = run(path, *arguments)

    assert result.exit_code != 0
    assert complaint in str(result.exception)
    assert not path.exists()


def test_a_broken_file_is_not_overwritten(path: Path) -> None:
    """Somebody's keys are in it."""
    path.parent.mkdir()
    path.write_text("[[keys]\n")
    result = run(path, "create")

    assert result.exit_code != 0
    assert path.read_text() == "[[keys]\n"


def test_keys_made_at_the_same_time_are_all_there(path: Path) -> None:
    """Editors wait for each other."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_key(path, tenant="t", scopes=["write"]), range(16)))

    assert {record.sha256 for record in read_keys(path)} == {digest(one.key) for one in made}


def acts(home: Path) -> list[dict[str, Any]]:
    """Return the audit log."""
    return [json.loads(line) for line in (home / "audit.ndjson").read_text().splitlines()]


def test_every_change_is_in_the_audit_log_and_no_key_is(path: Path, home: Path) -> None:
    """Before it is done and after; what failed as well."""
    key = run(path, "create", "--tenant", "acme", "--scope", "admin").stdout.strip()
    [record] = read_keys(path)
    run(path, "limit", "acme", "--events-per-second", "5")
    run(path, "revoke", record.id)
    run(path, "revoke", record.id)
    found = [(act["act"], act["outcome"]) for act in acts(home)]

    assert found == [
        (f"keys {act}", outcome)
        for act, outcomes in (
            ("create", ("begun", "done")),
            ("limit", ("begun", "done")),
            ("revoke", ("begun", "done", "begun", "failed")),
        )
        for outcome in outcomes
    ]
    assert (acts(home)[1]["key"], acts(home)[1]["tenant"]) == (record.id, "acme")
    text = (home / "audit.ndjson").read_text()
    assert key not in text
    assert digest(key) not in text


def test_nothing_is_changed_that_cannot_be_written_down(path: Path, home: Path) -> None:
    """A directory where the audit log should be."""
    (home / "audit.ndjson").mkdir(parents=True)
    result = run(path, "create")

    assert result.exit_code != 0
    assert "audit log" in str(result.exception)
    assert not path.exists()


def test_a_key_expires_when_it_was_set_to(path: Path) -> None:
    """A span from now, or a day; the list says when, and a time that is over is a mistake."""
    key = run(path, "create", "--expires", "90d").stdout.strip().encode()
    [record] = read_keys(path)
    assert record.expires_at is not None
    assert record.expires_at - record.created_at == timedelta(days=90)
    ends = record.expires_at.timestamp()
    for now, is_valid in ((ends - 1, True), (ends, False)):
        ring = KeyFile(path, lambda: 0.0, partial(float, now)).ring()
        assert ring is not None
        assert (ring.caller(key) is not None) == is_valid
    assert f"{record.expires_at:%Y-%m-%d}" in run(path, "list").stdout
    assert json.loads(run(path, "list", "--json").stdout)["is_valid"]
    for text in ("yesterday", "2020-01-01"):
        assert "--expires" in str(run(path, "create", "--expires", text).exception)


def test_limits_of_keys_and_tenants_are_kept_and_listed(path: Path) -> None:
    """The key's own, and what all keys of its tenant may send; both can be changed, and comments stay."""
    run(path, "create", "--tenant", "acme", "--events-per-second", "50", "--name", "slow")
    run(path, "create", "--tenant", "acme")
    path.write_text(path.read_text() + "# Ada's\n")
    run(path, "limit", "acme", "--events-per-second", "200")
    file = read_file(path)
    callers = [KeyRing(file).owner(bytes.fromhex(record.sha256)) for record in file.keys]

    assert [(caller.key_rate, caller.tenant_rate) for caller in callers if caller] == [(50, 200), (None, 200)]
    assert "50, all of acme 200" in run(path, "list").stdout
    assert "# Ada's" in path.read_text()
    assert run(path, "limit", "acme", "--default").exit_code == 0
    assert not read_file(path).tenants
    assert len(read_keys(path)) == 2
    assert run(path, "limit", "acme").exit_code != 0
    assert run(path, "limit", "Acme", "--default").exit_code != 0
