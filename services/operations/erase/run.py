"""The command `afterword erase`: dry run, erasure, certificate."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import orjson
import typer
from aiokafka.errors import KafkaError
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console

from services.erasure.core.certificate import lines
from services.erasure.core.erasures import ErasureRecord, ErasureState, RequestedBy
from services.erasure.log import CLIENT, ErasureLog, WrongKafkaError
from services.erasure.log import log as open_log
from services.erasure.run import ErasureRun
from services.erasure.tables import ErasureTables
from services.erasure.tables import tables as open_tables
from services.operations.confirm import Agree
from services.operations.erase.core.subject import ErasureSubject, plan
from services.operations.errors import clickhouse_failed, kafka_unreachable
from services.operations.exits import DONE, FOUND, CommandError
from services.operations.progress import ProgressBar
from services.pipeline.generations import resolved
from services.runtime.audit_log import record
from services.runtime.settings import ClickHouseSettings, HomeSettings, KafkaSettings


class EraseSettings(KafkaSettings, ClickHouseSettings, HomeSettings):
    """The servers with the feedback, and the audit log."""


ACT = "erase"
RESUME = "A running sink completes erasure {id}; `GET /v1/erasures/{id}` has its progress."
_errors = Console(stderr=True)


async def erase(settings: EraseSettings, subject: ErasureSubject, agree: Agree, *, json: bool) -> int:
    """Print what would be deleted, erase it if confirmed, print the certificate; the exit code."""
    async with _servers(settings) as (tables, log):
        await log.check(tables)
        requests = await _requests(tables, subject)
        found = await tables.count(subject.tenant, requests)
        for line in plan(subject.tenant, len(requests), found, by_user=bool(subject.user_hash)):
            typer.echo(line, err=json)
        if not agree("Delete them for good?"):
            return DONE
        return await _carry_out(settings, tables, log, _erasure_of(subject, await tables.now()), json=json)


async def _requests(tables: ErasureTables, subject: ErasureSubject) -> list[str]:
    if subject.user_hash:
        return await tables.named(subject.tenant, subject.user_hash)
    return [*subject.request_ids]


def _erasure_of(subject: ErasureSubject, now: datetime) -> ErasureRecord:
    return ErasureRecord(
        tenant=subject.tenant,
        id=uuid4(),
        state=ErasureState.ASKED,
        asked_at=now,
        asked_by=RequestedBy.COMMAND,
        user_hash=subject.user_hash,
        asked_for=subject.request_ids,
    )


async def _carry_out(
    settings: EraseSettings, tables: ErasureTables, log: ErasureLog, erasure: ErasureRecord, *, json: bool
) -> int:
    _audit(settings, "begun", erasure)
    outcome = "failed"
    try:
        await tables.write(erasure)
        with ProgressBar("Searching", None, _errors) as bar:
            ended = await ErasureRun(tables, log, erasure, shown=_steps(bar)).run()
        outcome = "failed" if ended.problem else "done"
    except BaseException:
        typer.echo(RESUME.format(id=erasure.id), err=True)
        raise
    finally:
        _audit(settings, outcome, erasure)
    return _print_certificate(ended, json=json)


def _steps(bar: ProgressBar) -> Callable[[str], None]:
    """Return a callback that shows each step once."""
    latest = ""

    def shown(doing: str) -> None:
        nonlocal latest
        if doing != latest:
            latest = doing
            bar.begin(doing, None)

    return shown


def _print_certificate(erasure: ErasureRecord, *, json: bool) -> int:
    if erasure.certificate is None:
        typer.echo(f"erasure {erasure.id}: {erasure.problem}", err=True)
        return FOUND
    if json:
        typer.echo(orjson.dumps(erasure.certificate, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in lines(erasure.certificate):
            typer.echo(line)
    return DONE


def _audit(settings: EraseSettings, outcome: str, erasure: ErasureRecord) -> None:
    now = datetime.now(UTC)  # noqa: TID251 (the rim of a command)
    about = "user" if erasure.user_hash else "requests"
    record(
        settings, ACT, outcome, now, tenant=erasure.tenant, erasure=str(erasure.id), about=about,
        requests=len(erasure.asked_for),
    )  # fmt: skip


@asynccontextmanager
async def _servers(settings: EraseSettings) -> AsyncIterator[tuple[ErasureTables, ErasureLog]]:
    """Connect to both servers for the block; CommandError."""
    try:
        async with AsyncExitStack() as stack:
            tables = await stack.enter_async_context(open_tables(settings))
            found = await resolved(settings, CLIENT)
            yield tables, await stack.enter_async_context(open_log(found))
    except WrongKafkaError as error:
        raise CommandError(str(error)) from error
    except ClickHouseError as error:
        raise clickhouse_failed(error, settings) from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise kafka_unreachable(settings) from error
