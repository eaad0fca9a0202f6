"""The judge of a chaos run: is everything there that was acknowledged, once, right, and nothing else?

    verdict = await judge(directory, kafka, clickhouse, merger_homes)
    verdict.is_clean, verdict.lost, verdict.findings

Call it once the stack is at rest: everything is merged and stored, Kafka and the warehouse run, and the
mergers have ended (their stores are read from copies).  `merger_homes` are the mergers' own directories:
`<home>/merger`, `<home>/merger-2`.

The directory holds the writers' ledgers, `*.ndjson`, a line for each event that was sent:

    {"n": 7, "tenant": "default", "request_id": "r-1", "op": "merge", "data": {...}, "request": null,
     "source": "native", "idempotency_key": null, "sent_at": "...", "outcome": "acknowledged",
     "event_id": "0199...", "version": "4711", "status": 202}

`data` and `request` are as the log has them (null where there are none; a dialect may build them from
something else).  An event that is sent again has a line for each try.  `outcome` is `acknowledged`, `unknown`
(it may be in the log, once), or `refused` (it is not).

What a fault wrote into a topic itself, past ingest, stands in `poison.ndjson` in the same directory:

    {"topic": "feedback-events", "partition": 2, "offset": 1234, "key": "<base64>", "value": "<base64>"}

`offset` is null where it was never learned; then key and value tell which one it is, at most once.

    verdict = await judge_survivors(directory, clickhouse)

judges what is left after faults that took logs away from Kafka, as far as the tables show it; `taken.ndjson`
names the events that existed nowhere else:

    {"event_id": "0199...", "fault": "emptied kafka"}

The judge shares no code with the merger and the sink: it reads the topics itself, folds them by a fold of its
own (`truth`), and compares.
"""

from chaos.judge.judging import judge, judge_survivors
from chaos.judge.verdict import Finding, Kind, Verdict, Where

__all__ = ["Finding", "Kind", "Verdict", "Where", "judge", "judge_survivors"]
