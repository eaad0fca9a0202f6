"""What the command does between its options and its exit code."""

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
from services.operations.erase.core.subject import Subject
from services.operations.erase.core.view import plan
from services.operations.erase.settings import EraseSettings
from services.operations.errors import clickhouse_failed, kafka_unreachable
from services.operations.exits import DONE, FOUND, CommandError
from services.operations.progress import Bar
from services.pipeline.generations import resolved
from services.runtime.audit_log import record

ACT = "erase"
GO_ON = "A running sink goes on with erasure {id}; `GET /v1/erasures/{id}` says how far it is."
_errors = Console(stderr=True)


async def erase(settings: EraseSettings, subject: Subject, agree: Agree, *, json: bool) -> int:
    """Show what would go, and erase it if that is agreed to; print the certificate."""
    async with _servers(settings) as (tables, log):
        await log.check(tables)
        requests = await _requests(tables, subject)
        found = await tables.count(subject.tenant, requests)
        for line in plan(subject.tenant, len(requests), found, by_user=bool(subject.user_hash)):
            typer.echo(line, err=json)
        if not agree("Remove them for good?"):
            return DONE
        return await _carry_out(settings, tables, log, _asked(subject, await tables.now()), json=json)


async def _requests(tables: ErasureTables, subject: Subject) -> list[str]:
    if subject.user_hash:
        return await tables.named(subject.tenant, subject.user_hash)
    return [*subject.request_ids]


def _asked(subject: Subject, now: datetime) -> ErasureRecord:
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
        with Bar("Looking", None, _errors) as bar:
            ended = await ErasureRun(tables, log, erasure, shown=_steps(bar)).run()
        outcome = "failed" if ended.problem else "done"
    except BaseException:
        typer.echo(GO_ON.format(id=erasure.id), err=True)
        raise
    finally:
        _audit(settings, outcome, erasure)
    return _told(ended, json=json)


def _steps(bar: Bar) -> Callable[[str], None]:
    """Show each step once, however often it is told."""
    latest = ""

    def shown(doing: str) -> None:
        nonlocal latest
        if doing != latest:
            latest = doing
            bar.begin(doing, None)

    return shown


def _told(erasure: ErasureRecord, *, json: bool) -> int:
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
    """Connect to both for the block; CommandError for what a user can mend."""
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
