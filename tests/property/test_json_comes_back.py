"""Whatever JSON can carry comes back exactly as it went in, on the other device too."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from presenced.ids import RecordId
from presenced.testing.replica_world import ReplicaDevice, acquaint

RECORD = bytes(range(16))

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**600), max_value=2**600)
    | st.sampled_from((2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, -0.0))
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


def shown(device: ReplicaDevice, writer: ReplicaDevice) -> str:
    slot = device.replica.record("follow", RecordId(RECORD))["odd"][writer.log]
    return json.dumps(slot.value, sort_keys=True)


@settings(deadline=None, max_examples=150)
@given(value=values, is_live=st.booleans())
def test_a_value_comes_back_as_it_went_in(value: Any, is_live: bool) -> None:
    sent = json.dumps(value, sort_keys=True)
    writer, reader = ReplicaDevice(1), ReplicaDevice(2)
    acquaint([writer, reader])
    writer.put(RECORD, json.loads(sent), field="odd", live=is_live)
    assert shown(writer, writer) == sent
    writer.seal()
    reader.pull(writer)
    for device in (writer, reader):
        assert shown(device, writer) == sent
        device.restart()
        assert shown(device, writer) == sent
