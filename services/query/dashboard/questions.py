"""What the address of a page asks for, and the one short address of each question."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Request

from services.query.api.params import question
from services.query.dashboard.core.forms import FIELDS, canonical
from services.query.dashboard.readers import Elsewhere
from services.query.reads.core.filters import Filters


@dataclass(frozen=True)
class PageAsked:
    """The filters of a page's address, and the page's own parameters (those that were given)."""

    filters: Filters
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def kept(self) -> list[tuple[str, str]]:
        """The page's own parameters that stay when filters change; the place in a list does not."""
        return [(name, value) for name, value in self.extra.items() if name != "cursor"]


def page_question(*allowed: str) -> Callable[[Request], PageAsked]:
    """Return a dependency that reads filters and the parameters named; a form is led to its address."""

    def dependency(request: Request) -> PageAsked:
        with question(request, allowed=(*allowed, *FIELDS), form=True) as asking:
            short = canonical(asking.sent)
            filters = asking.filters()
            extra = {name: asking.text(name) for name in allowed}
        if short != asking.sent:
            raise Elsewhere(f"{request.url.path}?{urlencode(short)}" if short else request.url.path)
        return PageAsked(filters, {name: value for name, value in extra.items() if value})

    return dependency


PageQuestion = Annotated[PageAsked, Depends(page_question())]
"""The filters of a page without parameters of its own."""
