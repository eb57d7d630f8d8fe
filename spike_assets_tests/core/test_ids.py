"""Ids are those of the standard library."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from spike_assets.core.ids import of_names


@given(st.uuids(), st.lists(st.text()))
def test_they_are_those_of_uuid5(namespace: uuid.UUID, names: list[str]) -> None:
    assert of_names(namespace, names) == [str(uuid.uuid5(namespace, name)) for name in names]
