"""What a figure must reach: the words that a reader sees, and the bound that decides.  Pure."""

from typing import NamedTuple


class Target(NamedTuple):
    """A bound for a figure's ratio to its baseline, or for its value; never rounded in its favour."""

    words: str
    least: float | None = None
    most: float | None = None
    of_ratio: bool = True

    @property
    def bound(self) -> float | None:
        """The bound, whichever side it is on."""
        return self.most if self.least is None else self.least

    @property
    def bound_of(self) -> str:
        """What the bound is for: `ratio` or `value`; empty where there is none."""
        return "" if self.bound is None else "ratio" if self.of_ratio else "value"

    def judge(self, value: float, ratio: float | None) -> bool | None:
        """Return whether it is met; None where there is no bound, or nothing to compare with."""
        found = ratio if self.of_ratio else value
        if found is None or (self.least is None and self.most is None):
            return None
        return (self.least is None or found >= self.least) and (self.most is None or found <= self.most)


NONE = Target("")


def times(least: float, baseline: str) -> Target:
    """Return: at least so many times the baseline, which is named in words (`the textbook`)."""
    return Target(f"at least {least:g} times {baseline}", least=least)


def share(most: float, baseline: str) -> Target:
    """Return: at most so many times the baseline, which is named in words."""
    return Target(f"at most {most:g} times {baseline}", most=most)


def at_least(least: float, unit: str) -> Target:
    """Return: the value is at least this."""
    return Target(f"at least {least:,g} {unit}", least=least, of_ratio=False)


def at_most(most: float, unit: str) -> Target:
    """Return: the value is at most this."""
    return Target(f"at most {most:,g} {unit}", most=most, of_ratio=False)
