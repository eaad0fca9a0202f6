"""Prints what a program did, for its test: one JSON object a line."""

import json
import sys
from collections.abc import Callable
from typing import Any


def arguments() -> tuple[str, str, str]:
    """Return the address to use, the key, and a word that all ids of this run contain."""
    address, key, run = sys.argv[1:]
    return address, key, run


def call(name: str, make: Callable[[], Any]) -> Any:
    """Make a call, and print its result or what it raised."""
    try:
        result = make()
    except Exception as error:
        print(
            json.dumps({"call": name, "raised": type(error).__name__, "text": str(error)[:2000]}), flush=True
        )
        return None
    print(json.dumps({"call": name, "returned": _plain(result)}, default=str), flush=True)
    return result


def _plain(value: Any) -> Any:
    for method in ("model_dump", "dict"):
        if hasattr(value, method):
            return getattr(value, method)()
    return value
