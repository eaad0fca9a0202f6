"""The SQL statements for a tenant's SQL user.

Their order is a promise: the user can read nothing before its row policy exists.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

GIB = 2**30


@dataclass(frozen=True)
class UserLimit:
    """A setting of the user.  A client may set a value from 1 to this one; none if `fixed`."""

    setting: str
    value: int
    fixed: bool = False

    @property
    def sql(self) -> str:
        """The text behind SETTINGS.  At least 1, since 0 often means unlimited."""
        bounds = "CONST" if self.fixed else f"MIN 1 MAX {self.value}"
        return f"{self.setting} = {self.value} {bounds}"


LIMITS = (
    # 2, not 1: with 1 a client may send no settings, and most BI tools send some.  The rights allow no
    # writes either way, and settings are held to these bounds.
    UserLimit("readonly", 2, fixed=True),
    UserLimit("max_execution_time", 60),
    UserLimit("max_memory_usage", 2 * GIB),
    UserLimit("max_memory_usage_for_user", 4 * GIB, fixed=True),
    UserLimit("max_rows_to_read", 1_000_000_000),
    UserLimit("max_concurrent_queries_for_user", 8, fixed=True),
    UserLimit("max_temporary_data_on_disk_size_for_user", 10 * GIB, fixed=True),
)
"""Limits of the user's queries."""


@dataclass(frozen=True)
class Relation:
    """A table or view of the database; `has_tenant`: its rows have a tenant."""

    name: str
    has_tenant: bool


@dataclass(frozen=True)
class SqlUser:
    """The SQL user of one tenant in one database.  Both names are validated slugs."""

    database: str
    tenant: str

    @property
    def name(self) -> str:
        """`afterword_acme`.  No two tenants or databases share one: a tenant has no underscore."""
        return f"{self.database}_{self.tenant}"

    @property
    def condition(self) -> str:
        """The row policy, for every table."""
        return f"tenant = '{self.tenant}'"

    @property
    def _quoted(self) -> str:
        return f"`{self.name}`"

    def create(self, password: str, salt: str) -> str:
        """Create the user without rights; only a hash of the password is sent."""
        return f"CREATE USER {self._quoted} {_identified(password, salt)}"

    def change_password(self, password: str, salt: str) -> str:
        """Replace the password."""
        return f"ALTER USER {self._quoted} {_identified(password, salt)}"

    def allow(self, relations: Iterable[Relation]) -> Iterator[str]:
        """Yield the statements that set limits, policy, and only then rights; the same on each run.

        Policy and rights cover the whole database, so they also apply to later tables: one without a tenant
        cannot be read, since the policy uses that column.
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
        """Return the rights of the user: a GRANT, and the exceptions as REVOKEs."""
        own = [relation.name for relation in relations if not relation.has_tenant]
        return [
            f"GRANT SELECT ON {self.database}.*",
            *(f"REVOKE SELECT ON {self.database}.{name}" for name in own),
        ]

    def drop(self) -> Iterator[str]:
        """Yield the statements that drop the user, and then its policy."""
        yield f"DROP USER IF EXISTS {self._quoted}"
        yield f"DROP ROW POLICY IF EXISTS {self._quoted} ON {self.database}.*"


def _identified(password: str, salt: str) -> str:
    digest = sha256((password + salt).encode()).hexdigest()
    return f"IDENTIFIED WITH sha256_hash BY '{digest}' SALT '{salt}'"
