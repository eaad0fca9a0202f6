"""Which dead letters a question asks for: the same parameters for the API and the page."""

from services.query.api.params import Question
from services.query.reads.core import letters
from services.query.reads.core.filters import NO_FILTERS, parse_filters

CHOICES = {"stage": letters.STAGES, "reason": letters.REASONS}
PARAMETERS = (*CHOICES, "state", "request_id", "from", "to")


def asked_of(asking: Question, state: str = "", *any_state: str) -> letters.Asked:
    """Return which dead letters the parameters ask for, those in a `state` unless they say otherwise.

    One of `any_state` says that the state does not matter.
    """
    chosen = {name: asking.choice(name, choices, "") for name, choices in CHOICES.items()}
    chosen["state"] = asking.choice("state", (*letters.State, *any_state), state)
    if chosen["state"] in any_state:
        chosen["state"] = ""
    shared = [one for one in asking.parameters if one[0] in ("request_id", "from", "to")]
    filters = asking.read(lambda: parse_filters(shared), NO_FILTERS)
    return letters.Asked(
        **chosen, request_id=filters.request_id, since=filters.last_from, until=filters.last_to
    )
