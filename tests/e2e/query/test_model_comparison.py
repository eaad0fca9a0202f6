"""Answers of several models, judged and sent: the comparison shows who wins, exactly, and in that order."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.oracles.judged_answers import judged, write
from tests.support.stack.rows import shows
from tests.support.stack.whole_stack import WholeStack

PREFIX = "compared-"
QUESTION = {"by": "model", "measure": "data.preference", "order": "-average", "data.contest": PREFIX}


def own(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event about a contest and models of this test's own."""
    data, request = event.get("data"), event.get("request")
    return {
        **event,
        **({"data": {**data, "contest": PREFIX}} if data else {}),
        **({"request": {**request, "model": PREFIX + request["model"]}} if request else {}),
    }


async def test_the_comparison_shows_the_win_rates_in_order(whole_stack: WholeStack, tmp_path: Path) -> None:
    """Over the API as over the page, after `afterword send`; a win rate is 100 * (average - 1)."""
    load = judged(PREFIX, models=6, questions=60, seed=7)
    path = write([own(event) for event in load.events], tmp_path / "judged.ndjson.gz")
    sent = await whole_stack.call(
        *("send", str(path), "--url", whole_stack.ingest_url, "--state-dir", str(tmp_path))
    )
    assert sent.returncode == 0, sent.stderr
    await shows(whole_stack.settings, PREFIX, {name: own_row(*row) for name, row in load.rows.items()})
    expected = sorted(load.win_rates, key=lambda model: -load.win_rates[model][0])

    async with httpx.AsyncClient(base_url=whole_stack.query_url, timeout=60) as client:
        answer = (await client.get("/v1/stats", params=QUESTION)).json()
        asked = {name: value for name, value in QUESTION.items() if name != "order"}
        page = await client.get("/insights", params={**asked, "scale": "1..2"}, follow_redirects=True)

    assert [group["key"]["model"] for group in answer["groups"]] == [PREFIX + model for model in expected]
    for group, model in zip(answer["groups"], expected, strict=True):
        win_rate, answers = load.win_rates[model]
        assert 100 * (group["average"]["value"] - 1) == pytest.approx(float(win_rate), abs=1e-9)
        assert group["average"]["n"] == answers
        assert group["average"]["low"] < group["average"]["value"] < group["average"]["high"]
    assert page.status_code == 200, page.text
    lines = re.findall(r'<tr data-key="([^"]*)".*?class="num value">([^<]*)<', page.text, re.DOTALL)
    assert [(unescape(name), value) for name, value in lines[: len(expected)]] == [
        (PREFIX + model, f"{float(load.win_rates[model][0]):.1f}%") for model in expected
    ]


def own_row(data: dict[str, Any], request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a row has to say."""
    return {**data, "contest": PREFIX}, {**request, "model": PREFIX + request["model"]}
