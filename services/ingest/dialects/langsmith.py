"""LangSmith: its routes; what they read and answer is in its other modules.

The Python client repeats a request that is answered 404 or 429 for a quarter of an hour, and blocks its
caller meanwhile, so creating feedback is never answered with either.
"""

from typing import Any

import orjson

from schemas.limits import MIB
from services.ingest.core.errors import Code, Rejection
from services.ingest.dialects.dialect import (
    REQUEST_ID,
    Dialect,
    FixedRoute,
    ItemsRoute,
    LookupRoute,
    Reply,
    RouteDoc,
)
from services.ingest.dialects.langsmith_feedback import (
    SOURCE,
    answer_feedback,
    by_id,
    by_id_to_change,
    change,
    delete,
    fits,
    listed,
    of_runs,
    read_feedback,
    show,
)
from services.ingest.dialects.langsmith_runs import answer_runs, read_batch, read_single
from services.ingest.dialects.langsmith_tokens import (
    HTML,
    answer_tokens,
    read_tokens,
    token_of_call,
    token_of_link,
    use_link,
    use_token,
)

INFO: dict[str, Any] = {
    "batch_ingest_config": {
        "use_multipart_endpoint": False,
        "size_limit": 100,
        "size_limit_bytes": 12 * MIB,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 16,
        "scale_down_nempty_trigger": 4,
    }
}
"""Without multipart both clients send plain JSON.  Python's tracing ends if one of the limits is missing."""


def problem(rejection: Rejection) -> Reply:
    """Return an error as LangSmith's API does.

    A rate limit is 503: the clients repeat that for seconds, then raise; they repeat 429 far longer.
    """
    status = 503 if rejection.code is Code.RATE_LIMITED else rejection.status
    return Reply(status, orjson.dumps({"detail": rejection.detail, "code": rejection.code}))


_RUN = "018f0000-0000-7000-8000-000000000001"
_ID = "018f0000-0000-7000-8000-00000000000f"
_EXAMPLE = {"id": _ID, "run_id": _RUN, "key": "user_score", "score": 1, "comment": "Great"}
_RUN_EXAMPLE = {
    "id": _RUN,
    "trace_id": _RUN,
    "run_type": "llm",
    "start_time": "2026-12-01T04:05:59.580Z",
    "end_time": 1796097959872,
    "extra": {"metadata": {"ls_provider": "openai", "ls_model_name": "gpt-4o"}},
    "inputs": {"messages": [{"role": "user", "content": "What is AES?"}]},
    "outputs": {"id": "chatcmpl-1", "usage_metadata": {"input_tokens": 12, "output_tokens": 5}},
}

DIALECT = Dialect(
    SOURCE,
    (
        FixedRoute(
            method="GET",
            path="/info",
            has_body=False,
            is_bare=False,
            reply=Reply(200, orjson.dumps(INFO)),
            doc=RouteDoc("What the clients ask first: how to send.", answer=INFO),
        ),
        ItemsRoute(
            method="POST",
            path="/feedback",
            read_items=read_feedback,
            answer_items=answer_feedback,
            fits=fits,
            looks_for="an object with `key`",
            doc=RouteDoc(
                "Give feedback on a run.", _EXAMPLE, {"id": _ID, "run_id": _RUN, "key": "user_score"}
            ),
        ),
        ItemsRoute(
            method="POST",
            path="/feedback/tokens",
            is_bare=False,
            read_items=read_tokens,
            answer_items=answer_tokens,
            doc=RouteDoc(
                "Create a URL, or an array of URLs, by which feedback is given without a key.",
                {"run_id": _RUN, "feedback_key": "user_score", "expires_in": {"hours": 3}},
                {
                    "id": _ID,
                    "url": f"http://127.0.0.1:8080/langsmith/feedback/tokens/{_ID}",
                    "expires_at": "…",
                },
            ),
        ),
        LookupRoute(
            method="GET",
            path=f"/feedback/tokens/{REQUEST_ID}",
            has_body=False,
            is_bare=False,
            query=token_of_link,
            decide=use_link,
            changes=True,
            is_public=True,
            doc=RouteDoc(
                "Give feedback by a link (`score`, `value`, `comment`, `correction`).",
                answer_type=HTML.decode(),
            ),
        ),
        LookupRoute(
            method="POST",
            path=f"/feedback/tokens/{REQUEST_ID}",
            is_bare=False,
            query=token_of_call,
            decide=use_token,
            changes=True,
            is_public=True,
            doc=RouteDoc("Give feedback by a token.", {"score": 1, "comment": "Great"}),
        ),
        LookupRoute(
            method="GET",
            path="/feedback",
            has_body=False,
            is_bare=False,
            query=of_runs,
            decide=listed,
            doc=RouteDoc("List the feedback on runs (`run`, `key`, `source`, `limit`, `offset`)."),
        ),
        LookupRoute(
            method="GET",
            path=f"/feedback/{REQUEST_ID}",
            has_body=False,
            is_bare=False,
            query=by_id,
            decide=show,
            doc=RouteDoc("Read feedback by its id."),
        ),
        LookupRoute(
            method="PATCH",
            path=f"/feedback/{REQUEST_ID}",
            is_bare=False,
            query=by_id_to_change,
            decide=change,
            changes=True,
            doc=RouteDoc("Change feedback by its id.", {"score": 0, "comment": None}),
        ),
        LookupRoute(
            method="DELETE",
            path=f"/feedback/{REQUEST_ID}",
            has_body=False,
            is_bare=False,
            query=by_id,
            decide=delete,
            changes=True,
            doc=RouteDoc("Delete feedback by its id.", answer={"message": "Feedback deleted"}),
        ),
        ItemsRoute(
            method="POST",
            path="/runs/batch",
            is_bare=False,
            read_items=read_batch,
            answer_items=answer_runs,
            doc=RouteDoc(
                "Send the runs of traces: facts of requests.", {"post": [_RUN_EXAMPLE], "patch": []}
            ),
        ),
        ItemsRoute(
            method="POST",
            path="/runs",
            is_bare=False,
            read_items=read_single,
            answer_items=answer_runs,
            doc=RouteDoc("Send a run of a trace.", _RUN_EXAMPLE),
        ),
        ItemsRoute(
            method="PATCH",
            path=f"/runs/{REQUEST_ID}",
            is_bare=False,
            read_items=read_single,
            answer_items=answer_runs,
            doc=RouteDoc("Change a run of a trace.", {"end_time": "2026-12-01T04:05:59.872Z"}),
        ),
    ),
    problem=problem,
    territory=("/runs", "/info"),
    untaken=("/runs/multipart",),  # 404, after which the clients send JSON; 405 would lose their runs
)
