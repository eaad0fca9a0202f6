"""Statistics of a period and of the one before.

`question` parses what is asked for, `statement` builds the SELECT, `figures` makes the answer of its rows.
"""
