"""What a file is that is no JSON, told by its beginning, and what makes JSON of it.  Pure."""

import re

_CSV_TO_NDJSON = (
    'python3 -c \'import csv,json,sys; [print(json.dumps({"request_id": r.pop("request_id"), "data": r})) '
    "for r in csv.DictReader(sys.stdin)]' < FILE > FILE.ndjson"
)
_NEEDED = "send takes JSON or NDJSON in UTF-8, plain, gzip or zstd"

_MAGIC = (
    ((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"), "text in UTF-32", "iconv -f UTF-32 -t UTF-8 FILE > NEW"),
    ((b"\xff\xfe", b"\xfe\xff"), "text in UTF-16", "iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    ((b"{\0", b"[\0"), "text in UTF-16", "iconv -f UTF-16LE -t UTF-8 FILE > NEW"),
    ((b"\0{", b"\0["), "text in UTF-16", "iconv -f UTF-16BE -t UTF-8 FILE > NEW"),
    (
        (b"PK\x03\x04",),
        "an Excel workbook (.xlsx) or another ZIP archive",
        "save it as CSV in UTF-8, or unpack it",
    ),
    ((b"\xd0\xcf\x11\xe0",), "an Excel workbook (.xls)", "save it as CSV in UTF-8"),
    ((b"PAR1",), "a Parquet file", "duckdb -c \"COPY (FROM 'FILE') TO 'FILE.ndjson' (FORMAT json)\""),
    ((b"BZh",), "compressed by bzip2", "bunzip2 -k FILE"),
    ((b"\xfd7zXZ",), "compressed by xz", "unxz -k FILE"),
    ((b"%PDF",), "a PDF", "export the data as JSON or CSV"),
    ((b"<",), "HTML or XML", "export the data as JSON: a page of an error, or of a sign-in, was saved maybe"),
)

_HEADER = re.compile(rb"[^\[{,;\t]*(?P<mark>[,;\t])[^\[{]*\Z")


def not_json(head: bytes) -> str:
    """Return what a file is that begins so, and what to do about it; empty if it may be JSON."""
    for magics, kind, cure in _MAGIC:
        if head.startswith(magics):
            return _said(kind, cure)
    first, _, _ = head.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    if first[:1] not in (b"{", b"[", b'"') and _HEADER.match(first.strip()):
        return _said("CSV", _CSV_TO_NDJSON)
    return ""


def not_utf8(text: bytes) -> str:
    """Return what is wrong with the text of an event that is not UTF-8; empty if it is."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return (
            f"not UTF-8 (byte 0x{text[error.start]:02x} at {error.start + 1}): Latin-1 or Windows-1252, most "
            "of the time; convert the file: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"
        )
    return ""


def _said(kind: str, cure: str) -> str:
    return f"this is {kind}, and {_NEEDED}; to convert it: {cure}"
