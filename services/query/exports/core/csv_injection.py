"""Texts that a spreadsheet would take for formulas.  Pure.

Feedback is written by strangers, and a spreadsheet that opens it runs what looks like a formula.  An
apostrophe before such a text makes it one.  A text that begins with an apostrophe gets another, so that
nothing is lost: whoever wants the original takes one apostrophe away wherever there is one.
"""

import re

_MARK = "'"
_SUSPECT = re.compile(
    # What spreadsheets skip, or take off: space of any kind, control characters, marks without width.
    r"[\s\x00-\x20\x7f-\xa0\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]*"
    # The signs that begin a formula, also at the full width that East Asian keyboards give them.
    r"[=+\-@\uff1d\uff0b\uff0d\uff20]"
    r"|[\t\r\n']"
)


def neutral(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula."""
    if not text or text[0].isalnum() or not _SUSPECT.match(text):
        return text
    return _MARK + text


def original(cell: str) -> str:
    """Return the text that `neutral` made a cell of."""
    return cell.removeprefix(_MARK)
