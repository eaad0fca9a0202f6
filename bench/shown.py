"""Numbers as a reader sees them: three digits, and more where fewer would hide that a target was missed."""

from decimal import Decimal

from bench.stages import Figure

_DIGITS = 3
_ALL = 17


def number(value: float, bound: float | None = None) -> str:
    """Return a number with three digits that count, on the side of `bound` where it is."""
    for digits in range(_DIGITS, _ALL):
        rounded = float(f"{value:.{digits}g}")
        if bound is None or _side(rounded, bound) == _side(value, bound):
            return _plain(rounded)
    return _plain(value)


def _side(value: float, bound: float) -> int:
    return (value > bound) - (value < bound)


def _plain(value: float) -> str:
    return f"{Decimal(repr(value)):,f}".removesuffix(".0")


def value(figure: Figure) -> str:
    """Return what was found, in its unit."""
    return f"{number(figure.value, _bound(figure, 'value'))} {figure.unit}".strip()


def baseline(figure: Figure) -> str:
    """Return what it is compared with; nothing where it is not."""
    return "" if figure.baseline is None else f"{number(figure.baseline)} {figure.unit}"


def ratio(figure: Figure) -> str:
    """Return the ratio; nothing where there is none."""
    return "" if figure.ratio is None else number(figure.ratio, _bound(figure, "ratio"))


def _bound(figure: Figure, of: str) -> float | None:
    return figure.bound if figure.bound_of == of else None


def found(figure: Figure) -> str:
    """Return what the target is about: the ratio, or the value."""
    return value(figure) if figure.bound_of == "value" or figure.ratio is None else f"{ratio(figure)} times"


def spread(figure: Figure) -> str:
    """Return the least and the most of all rounds."""
    low, high = number(min(figure.samples)), number(max(figure.samples))
    return low if low == high else f"{low} to {high}"


def verdict(figure: Figure) -> str:
    """Return whether the target was met; nothing where there is none."""
    if figure.met is None:
        return "not measured" if figure.target else ""
    return "met" if figure.met else "missed"
