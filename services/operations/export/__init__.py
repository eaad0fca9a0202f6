"""`afterword export`: the rows that filters let through, into a file, each once, whatever comes between.

    asking    -> fetching -> records        -> target
    question     pieces      whole records     the file, once it is whole; till then its `.partial`

The server sends rows in the order of their request ids.  So the last whole record says where to go on when a
transfer is cut, and the trailer, which is asked for with every one, says whether anything is missing.
"""
