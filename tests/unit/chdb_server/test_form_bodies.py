"""Forms, as clients write them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.filepost import encode_multipart_formdata

from chdb_server.core.errors import QueryRefusedError
from chdb_server.core.request import form_fields, is_form

TEXTS = st.text(st.characters(codec="utf-8"), max_size=50)


@given(st.dictionaries(st.from_regex(r"\A[a-z_]{1,10}\Z"), TEXTS, min_size=1, max_size=4))
def test_fields_come_back_as_they_were_sent(sent: dict[str, str]) -> None:
    """Whatever they hold: line breaks of any kind, quotes, dashes."""
    body, content_type = encode_multipart_formdata(list(sent.items()))

    assert is_form(content_type)
    assert sent == form_fields(content_type, body)


def test_external_tables_are_refused_by_name() -> None:
    """Rather than taken for a parameter."""
    body, content_type = encode_multipart_formdata([("t", ("t.csv", "1\n"))])
    with pytest.raises(QueryRefusedError, match="External tables"):
        form_fields(content_type, body)


@given(st.binary(max_size=200))
def test_damaged_forms_are_refused(body: bytes) -> None:
    """Never a defect."""
    with contextlib.suppress(QueryRefusedError):
        form_fields("multipart/form-data; boundary=x", body)
    with pytest.raises(QueryRefusedError, match="damaged"):
        form_fields("multipart/form-data", body)
