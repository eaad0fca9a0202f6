"""Votes as GPTBoost's users send them, in Python, in Node and with cURL, pointed at the stack."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.eventually import eventually
from tests.support.stack.rows import ask, shows
from tests.support.stack.whole_stack import WholeStack

NODE = """
const [url, completionId] = process.argv.slice(2);

async function collectFeedback(messageId, rating, tags = [], comment = "") {
    const response = await fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ message_id: messageId, rating: rating, tags: tags, comment: comment }),
    });
    if (!response.ok) throw new Error(response.statusText);
    console.log(JSON.stringify(await response.json()));
}

await collectFeedback(completionId, "positive", ["movies"], "Awesome");
"""


def vote(
    stack: WholeStack, message_id: str, rating: str, comment: str = "", tags: list[str] | None = None
) -> Any:
    """Vote as the page's program does: an empty comment and empty tags travel as well."""
    body = {"message_id": message_id, "rating": rating, "tags": tags or [], "comment": comment}
    return requests.post(f"{stack.ingest_url}/v1/feedback/", json=body, timeout=30)


async def test_a_vote_from_python_is_one_row(whole_stack: WholeStack) -> None:
    """Exactly 200, because that is what the page's program asks for; empty means absent."""
    answer = await asyncio.to_thread(vote, whole_stack, "gptboost-python", "positive")

    assert answer.status_code == 200
    assert answer.json()["message_id"] == "gptboost-python"
    await shows(whole_stack.settings, "gptboost-python", {"gptboost-python": ({"rating": "positive"}, {})})


async def test_the_same_vote_again_is_already_reported(whole_stack: WholeStack) -> None:
    """208 once the first one is stored, with a JSON body; another vote is 200 again."""
    await asyncio.to_thread(vote, whole_stack, "gptboost-again", "positive", "Good", ["a"])
    await shows(
        whole_stack.settings,
        "gptboost-again",
        {"gptboost-again": ({"rating": "positive", "comment": "Good", "tags": ["a"]}, {})},
    )

    again = await asyncio.to_thread(vote, whole_stack, "gptboost-again", "positive", "Good", ["a"])
    other = await asyncio.to_thread(vote, whole_stack, "gptboost-again", "negative")

    assert (again.status_code, again.json()["status"]) == (208, "already_reported")
    assert other.status_code == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
async def test_a_vote_from_curl_is_one_row(whole_stack: WholeStack) -> None:
    """With the options of the page."""
    body = {"message_id": "gptboost-curl", "rating": "positive", "tags": ["string"], "comment": "test"}
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--request", "POST", "--url", f"{whole_stack.ingest_url}/v1/feedback/"),
        *("--header", "Accept: application/json", "--header", "Content-Type: application/json"),
        *("--data", json.dumps(body, indent=4)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()

    assert json.loads(out)["status"] == "accepted"
    expected = {"rating": "positive", "tags": ["string"], "comment": "test"}
    await shows(whole_stack.settings, "gptboost-curl", {"gptboost-curl": (expected, {})})


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
async def test_a_vote_from_node_is_one_row(whole_stack: WholeStack, tmp_path: Path) -> None:
    """`fetch` is told that it is ok, and reads JSON."""
    script = tmp_path / "vote.mjs"
    script.write_text(NODE)
    process = await asyncio.create_subprocess_exec(
        *("node", str(script), f"{whole_stack.ingest_url}/v1/feedback/", "gptboost-node"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()

    assert err == b""
    assert json.loads(out)["status"] == "accepted"
    expected = {"rating": "positive", "tags": ["movies"], "comment": "Awesome"}
    await shows(whole_stack.settings, "gptboost-node", {"gptboost-node": (expected, {})})


@pytest.mark.parametrize(
    ("rating", "number", "sentiment"),
    [("amazing", 5.0, "positive"), ("positive", 4.0, "positive"), ("negative", 2.0, "negative")],
)
async def test_each_word_has_its_place_in_sql(
    whole_stack: WholeStack, rating: str, number: float, sentiment: str
) -> None:
    """Votes and ratings can be averaged together."""
    await asyncio.to_thread(vote, whole_stack, f"gptboost-word-{rating}", rating)

    async def check() -> bool:
        rows = await ask(
            whole_stack.settings,
            "SELECT vote, rating, sentiment FROM feedback WHERE request_id = {id:String}",
            id=f"gptboost-word-{rating}",
        )
        assert [tuple(row) for row in rows] == [(rating, number, sentiment)]
        return True

    await eventually(check, within=60, every=0.3)
