"""The two text files of a submission."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bench.submission import form


@given(st.lists(st.text(st.characters(codec="utf-8"))))
@hypothesis_settings(max_examples=60, deadline=None)
def test_method_txt_is_one_line_an_entry(values):
    entries = {f"key {number}": value for number, value in enumerate(values)}
    text = form.method_text(entries | {"none": None, "last": "a: b"})
    assert len(text.decode().splitlines()) == len(values) + 1
    said = {key: " ".join(value.split()) for key, value in entries.items()}
    assert form.read_method(text) == said | {"last": "a: b"}


@given(st.permutations(range(1, 20)))
def test_match_json_is_read_back_as_it_was(order):
    mapping = [0, *order]
    assert form.read_match(form.match_text(mapping), 20) == dict(enumerate(mapping))


def test_a_match_json_as_long_as_it_may_be_is_read_in_time():
    entries = [f'"{i}":0' for i in range(60_000)]
    with pytest.raises(ValueError, match="it has '59999' twice"):
        form.read_match(f"{{{','.join([*entries, entries[-1]])}}}".encode(), 51)
