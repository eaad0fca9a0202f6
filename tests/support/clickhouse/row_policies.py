"""An embedded engine whose one user has the rights, policies and limits of a tenant's SQL user.

An embedded engine keeps no users, but it reads one from a file.  So what CREATE ROW POLICY, GRANT and ALTER
USER say is written into that file; what the engine then lets through is what a server would.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from services.operations.migrate.core.sql_user import LIMITS, Relation, SqlUser, UserLimit

_PROGRAM = """
import json, sys
from chdb import _chdb
link, answers = _chdb.connect(sys.argv[1]), []
for statement in json.load(sys.stdin):
    try:
        text = link.query(statement, "JSONCompactEachRow").bytes().decode()
        answers.append([json.loads(line) for line in text.splitlines()])
    except RuntimeError as error:
        answers.append(str(error))
link.close()
print(json.dumps(answers))
"""

Answer = list[list[object]] | str
"""Rows, or what was said against it."""


async def as_owner(directory: Path, statements: Sequence[str]) -> list[Answer]:
    """Run statements with all rights, and return the answer to each."""
    return await _run(str(directory / "data"), statements)


async def as_sql_user(
    directory: Path,
    user: SqlUser,
    relations: Sequence[Relation],
    policed: Sequence[str],
    asked: Sequence[str],
) -> list[Answer]:
    """Run statements as the user, who is called `default` here; `policed` are what the policy is on."""
    users = directory / "users.xml"
    users.write_text(_users(user, relations, policed))
    config = directory / "config.xml"
    config.write_text(f"<clickhouse><users_config>{users}</users_config></clickhouse>")
    return await _run(f"{directory / 'data'}?config-file={config}", asked)


def _users(user: SqlUser, relations: Sequence[Relation], policed: Sequence[str]) -> str:
    rights = "".join(f"<query>{escape(right)}</query>" for right in user.rights(relations))
    policy = "".join(
        f"<{name}><filter>{escape(user.condition)}</filter></{name}>" for name in sorted(policed)
    )
    values = "".join(f"<{limit.setting}>{limit.value}</{limit.setting}>" for limit in LIMITS)
    bounds = "".join(f"<{limit.setting}>{_bounds(limit)}</{limit.setting}>" for limit in LIMITS)
    return f"""
        <clickhouse>
            <profiles><default>{values}<constraints>{bounds}</constraints></default></profiles>
            <quotas><default/></quotas>
            <users><default>
                <password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
                <grants>{rights}</grants>
                <databases><{user.database}>{policy}</{user.database}></databases>
            </default></users>
        </clickhouse>"""


def _bounds(limit: UserLimit) -> str:
    return "<const/>" if limit.fixed else f"<min>1</min><max>{limit.value}</max>"


async def _run(address: str, statements: Sequence[str]) -> list[Answer]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, address, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate(json.dumps(statements).encode())
    assert process.returncode == 0
    answers: list[Answer] = json.loads(printed)
    assert len(answers) == len(statements)
    return answers
