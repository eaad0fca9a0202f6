"""Feedback as Requesty's users send it, in Python and in Node, pointed at the stack."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.stack.rows import found, shows
from tests.support.stack.whole_stack import WholeStack

NODE = """
const [base, requestId, key] = process.argv.slice(2);

const sent = await fetch(base + requestId, {
    method: 'POST',
    headers: { 'Authorization': `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ data: { message: 'Sent by Node', rating: 5, helpful: true } }),
});
if (sent.ok) {
    console.log('sent');
} else {
    console.error('not sent:', sent.statusText);
}
"""


def post(stack: WholeStack, request_id: str, data: dict[str, Any]) -> requests.Response:
    """Send feedback with the library, the headers and the body of the page's program."""
    return requests.post(
        f"{stack.ingest_url}/feedback/{request_id}",
        headers={"Authorization": "Bearer any-key", "Content-Type": "application/json"},
        json={"data": data},
        timeout=30,
    )


FIRST = {
    "message": "Accurate, and it saved me an hour.",
    "rating": 5,
    "helpful": True,
    "user_id": "user_1234",
    "tags": ["customer-support", "positive-feedback"],
}


async def test_feedback_from_python_is_one_row(whole_stack: WholeStack) -> None:
    """Every key of `data` is there, as it was sent."""
    answer = await asyncio.to_thread(post, whole_stack, "requesty-python", FIRST)
    answer.raise_for_status()

    assert answer.json()["request_id"] == "requesty-python"
    await shows(whole_stack.settings, "requesty-python", {"requesty-python": (FIRST, {})})
    assert (await found(whole_stack.settings, "requesty-python"))["requesty-python"].sources == ["requesty"]


async def test_a_second_call_overwrites_only_the_keys_it_names(whole_stack: WholeStack) -> None:
    """A list is replaced, not united; what is not named stays; a new key is added."""
    second = {"rating": 2, "tags": ["changed-mind"], "reviewed_by": "qa"}
    for data in (FIRST, second):
        (await asyncio.to_thread(post, whole_stack, "requesty-twice", data)).raise_for_status()

    expected = {
        "message": "Accurate, and it saved me an hour.",
        "rating": 2,
        "helpful": True,
        "user_id": "user_1234",
        "tags": ["changed-mind"],
        "reviewed_by": "qa",
    }
    await shows(whole_stack.settings, "requesty-twice", {"requesty-twice": (expected, {})})


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
async def test_feedback_from_node_is_one_row(whole_stack: WholeStack, tmp_path: Path) -> None:
    """`fetch` is told that it is ok."""
    script = tmp_path / "feedback.mjs"
    script.write_text(NODE)
    process = await asyncio.create_subprocess_exec(
        "node",
        str(script),
        f"{whole_stack.ingest_url}/feedback/",
        "requesty-node",
        "any-key",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()

    assert (out, err) == (b"sent\n", b"")
    expected = {"message": "Sent by Node", "rating": 5, "helpful": True}
    await shows(whole_stack.settings, "requesty-node", {"requesty-node": (expected, {})})
