"""Creates, reads, lists, changes and deletes feedback, and uses presigned tokens, with LangSmith's client."""

from uuid import UUID, uuid5

from langsmith import Client
from report import arguments, call

address, key, run = arguments()
client = Client(api_url=address, api_key=key)
run_id = uuid5(UUID(int=0), run)


def listed(*keys: str) -> list[dict[str, object]]:
    """Return the key and score of the run's feedback."""
    found = client.list_feedback(run_ids=[run_id], feedback_key=list(keys) or None)
    return sorted(({"key": one.key, "score": one.score, "comment": one.comment} for one in found), key=str)


made = call(
    "create",
    lambda: client.create_feedback(run_id, "user_score", score=1, comment="Great", source_info={"app": "a"}),
)
second = call("create another", lambda: client.create_feedback(run_id, "tone", value="friendly"))
call("create with a trace", lambda: client.create_feedback(run_id, "late", score=0.5, trace_id=run_id))
client.flush()
call("run", lambda: str(run_id))
if made is not None:
    call("read", lambda: client.read_feedback(made.id).score)
    call("list", listed)
    call("list by key", lambda: listed("tone"))
    call("update", lambda: client.update_feedback(made.id, score=0, comment="Not so great"))
    call("read the update", lambda: client.read_feedback(made.id).score)
    call("delete", lambda: client.delete_feedback(second.id))
    call("list after that", listed)
    call("read what was deleted", lambda: client.read_feedback(second.id))
token = call("token", lambda: client.create_presigned_feedback_token(run_id, "from_mail"))
if token is not None:
    call("token used", lambda: client.create_feedback_from_token(token.url, score=1, comment="by token"))
call("tokens", lambda: len(client.create_presigned_feedback_tokens(run_id, ["a", "b"])))
