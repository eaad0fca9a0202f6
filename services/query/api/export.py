"""`/v1/feedback/export`: everything that the filters let through, as a file."""

import time
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import Response

from schemas.limits import MAX_REQUEST_ID_LENGTH
from services.query.access import Reader
from services.query.api.openapi import FILTERS, described, parameter
from services.query.api.params import Question, question
from services.query.core.problems import Fault
from services.query.exports.core.assembly import Assembly
from services.query.exports.core.encoder import Options
from services.query.exports.core.encodings import choose, compressor
from services.query.exports.core.formats import DEFAULT, FORMATS, Format
from services.query.exports.core.statement import Wanted
from services.query.exports.reply import ExportReply, headers
from services.query.exports.streaming import pieces
from services.query.reads.core.filters import Filters

router = APIRouter(tags=["feedback"])

OPTIONS = ("trailer", "bom")
PARAMETERS = ("format", "limit", "cursor", *OPTIONS)
MAX_LIMIT = 10**12


DESCRIBED = (
    parameter("format", "The format of the file.", enum=[*FORMATS], default=DEFAULT),
    parameter("limit", "How many rows at most.", type="integer", minimum=1, maximum=MAX_LIMIT),
    parameter(
        "cursor",
        "The request id of the last row that you have: go on after it.",
        maxLength=MAX_REQUEST_ID_LENGTH,
    ),
    *(parameter(name, "For CSV and NDJSON.", enum=["true", "false"]) for name in OPTIONS),
)
FILE = {
    "description": "The file.",
    "content": {
        format_.media_type.partition(";")[0]: {"schema": {"type": "string"}} for format_ in FORMATS.values()
    },
}


@router.get("/v1/feedback/export", operation_id="export_feedback", **described(FILE, *FILTERS, *DESCRIBED))
async def export_feedback(request: Request, reader: Reader) -> Response:
    """Return all rows in the order of their request ids, as CSV, NDJSON or Parquet."""
    with question(request, PARAMETERS) as asking:
        filters = asking.filters()
        format_ = FORMATS[asking.choice("format", FORMATS, DEFAULT)]
        wanted = _wanted(reader.tenant, filters, asking)
        options = Options(**{name: _switch(asking, name, format_) for name in OPTIONS})
    accepted = request.headers.get("accept-encoding", "")
    encoding = None if format_.is_compressed else choose(accepted)
    assembly = Assembly(wanted, format_.encoder(options), compressor(encoding) if encoding else None)
    now = datetime.fromtimestamp(time.time(), UTC)
    service = request.app.state.service
    return ExportReply(
        pieces(service.store, assembly),
        assembly,
        lambda rows: headers(format_, rows, encoding, now),
        lambda: service.access.may_still_read(request, reader.tenant),
    )


def _wanted(tenant: str, filters: Filters, asking: Question) -> Wanted:
    cursor = asking.text("cursor")
    if len(cursor) > MAX_REQUEST_ID_LENGTH:
        asking.faults.append(Fault("cursor", "the request id of the last row that you have"))
    limit = asking.whole("limit", 0, least=1, most=MAX_LIMIT) if asking.text("limit") else None
    return Wanted(tenant, filters, cursor, limit)


def _switch(asking: Question, name: str, format_: Format) -> bool:
    wanted = asking.choice(name, ("true", "false"), "false") == "true"
    if wanted and name not in format_.options:
        asking.faults.append(Fault(name, f"{format_.name} files have none"))
    return wanted
