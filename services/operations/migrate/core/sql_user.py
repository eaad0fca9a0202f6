"""One tenant's SQL user, as statements.  Pure.

The order of the statements is a promise: the user can read nothing before the policy holds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

GIB = 2**30


@dataclass(frozen=True)
class Limit:
    """A setting of the user.  A client may send another value, from 1 to this one; none if `fixed`."""

    setting: str
    value: int
    fixed: bool = False

    @property
    def sql(self) -> str:
        """As it stands behind SETTINGS.  From 1 on, since 0 often means: without a limit."""
        bounds = "CONST" if self.fixed else f"MIN 1 MAX {self.value}"
        return f"{self.setting} = {self.value} {bounds}"


LIMITS = (
    # 2, not 1: with 1 a client may send no setting at all, and most BI tools send some.  The rights let
    # nothing be written either way, and what is sent is held to these bounds.
    Limit("readonly", 2, fixed=True),
    Limit("max_execution_time", 60),
    Limit("max_memory_usage", 2 * GIB),
    Limit("max_memory_usage_for_user", 4 * GIB, fixed=True),
    Limit("max_rows_to_read", 1_000_000_000),
    Limit("max_concurrent_queries_for_user", 8, fixed=True),
    Limit("max_temporary_data_on_disk_size_for_user", 10 * GIB, fixed=True),
)
"""What the user's questions may cost."""


@dataclass(frozen=True)
class Relation:
    """A table or view of the database, and whether its rows belong to tenants."""

    name: str
    has_tenant: bool


@dataclass(frozen=True)
class SqlUser:
    """The user of one tenant's rows in one database.  Both names are slugs, checked before."""

    database: str
    tenant: str

    @property
    def name(self) -> str:
        """`afterword_acme`.  No two tenants or databases share one: a tenant has no underscore."""
        return f"{self.database}_{self.tenant}"

    @property
    def condition(self) -> str:
        """Which rows the user sees, of whatever table."""
        return f"tenant = '{self.tenant}'"

    @property
    def _quoted(self) -> str:
        return f"`{self.name}`"

    def create(self, password: str, salt: str) -> str:
        """Make the user, without any rights; only a hash of the password is sent."""
        return f"CREATE USER {self._quoted} {_identified(password, salt)}"

    def change_password(self, password: str, salt: str) -> str:
        """Replace the password."""
        return f"ALTER USER {self._quoted} {_identified(password, salt)}"

    def allow(self, relations: Iterable[Relation]) -> Iterator[str]:
        """Give the user its limits, its policy, and only then its rights: the same at each run.

        Policy and rights are those of the whole database, so they hold for tables that are yet to come: one
        without a tenant cannot be read, since the policy asks for that column.
        """
        limits = ", ".join(limit.sql for limit in LIMITS)
        yield f"ALTER USER {self._quoted} DEFAULT DATABASE {self.database} SETTINGS {limits}"
        yield (
            f"CREATE ROW POLICY OR REPLACE {self._quoted} ON {self.database}.*"
            f" FOR SELECT USING {self.condition} AS PERMISSIVE TO {self._quoted}"
        )
        first, *rest = self.rights(relations)
        yield f"{first} TO {self._quoted} WITH REPLACE OPTION"
        for right in rest:
            yield f"{right} FROM {self._quoted}"

    def rights(self, relations: Iterable[Relation]) -> list[str]:
        """Return what the user may do: a GRANT, and what is taken from it again by REVOKEs."""
        own = [relation.name for relation in relations if not relation.has_tenant]
        return [
            f"GRANT SELECT ON {self.database}.*",
            *(f"REVOKE SELECT ON {self.database}.{name}" for name in own),
        ]

    def drop(self) -> Iterator[str]:
        """Take the user away, and its policy after it."""
        yield f"DROP USER IF EXISTS {self._quoted}"
        yield f"DROP ROW POLICY IF EXISTS {self._quoted} ON {self.database}.*"


def _identified(password: str, salt: str) -> str:
    digest = sha256((password + salt).encode()).hexdigest()
    return f"IDENTIFIED WITH sha256_hash BY '{digest}' SALT '{salt}'"
