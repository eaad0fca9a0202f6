"""How sure a share or an average is: intervals that hold the true value 95 times of 100.  Pure.

A share has Wilson's interval, which stays within 0 and 1 and is right for few votes, too.  An average has
Student's: it assumes that averages of that many values spread like a normal distribution, which ratings on a
short scale do from about ten values on.
"""

from dataclasses import dataclass
from math import isfinite, sqrt

CONFIDENCE = 0.95

Z = 1.959963984540054
"""The quantile of the normal distribution that 2.5 % lie above."""

_T = (
    *(12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139),
    *(2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963),
)
"""The same quantile of Student's distribution, for 1 to 20 degrees of freedom."""


@dataclass(frozen=True)
class Estimate:
    """A value, the interval around it, and how many observations it rests on.

    `low` and `high` are None where there are too few observations to tell.
    """

    value: float
    low: float | None
    high: float | None
    n: int


def share(hits: int, n: int) -> Estimate | None:
    """Return the share of hits among `n` with Wilson's interval; None of nothing."""
    if n == 0:
        return None
    part, square = hits / n, Z * Z
    middle = (part + square / (2 * n)) / (1 + square / n)
    reach = Z / (1 + square / n) * sqrt(part * (1 - part) / n + square / (4 * n * n))
    # At the ends rounding would leave a hair that is not there.
    low = 0.0 if hits == 0 else max(0.0, middle - reach)
    high = 1.0 if hits == n else min(1.0, middle + reach)
    return Estimate(part, low, high, n)


def average(n: int, mean: float | None, squares: float | None) -> Estimate | None:
    """Return the average of `n` values with Student's interval; None of nothing.

    `squares` is the sum of the squared differences from the mean.  Values that are too large for a double
    have no average.
    """
    if n == 0 or mean is None or not isfinite(mean):
        return None
    if n == 1 or squares is None or not isfinite(squares):
        return Estimate(mean, None, None, n)
    reach = student(n - 1) * sqrt(max(0.0, squares) / (n - 1) / n)
    return Estimate(mean, mean - reach, mean + reach, n)


def student(freedom: int) -> float:
    """Return the quantile of Student's distribution that 2.5 % lie above; exact to 5 digits at least."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    # The expansion in powers of 1/freedom around the normal quantile (Cornish and Fisher).
    z, f = Z, float(freedom)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / f + second / f**2 + third / f**3 + fourth / f**4
