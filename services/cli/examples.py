"""Examples at the end of a command's help: kept as values, so that a test can call each of them."""

from collections.abc import Iterable


def epilog(examples: Iterable[tuple[str, str]]) -> str:
    """Return the text that shows these pairs of command line and what it is for."""
    return "Examples:\n\n\b\n" + "\n".join(f"[dim]# {purpose}[/dim]\n{call}" for call, purpose in examples)
