"""What a dry run says.  Pure: counts in, lines out; never what anybody wrote."""

from collections.abc import Mapping

WORDS = {
    "feedback": "rows of requests as they are now",
    "feedback_state": "versions of these rows",
    "feedback_events": "events in the history",
    "dead_letters": "dead letters",
}


def plan(tenant: str, requests: int, found: Mapping[str, int], *, by_user: bool) -> list[str]:
    """Return what would be removed."""
    lines = [f"{requests:,} request{'' if requests == 1 else 's'} of tenant {tenant}:"]
    lines += [f"  {found.get(name, 0):>9,} {words}" for name, words in WORDS.items()]
    if by_user:
        lines.append("What names the user and is still on its way is found, too.")
    lines.append("They are removed for good, and stay away whatever comes later from before.")
    return lines
