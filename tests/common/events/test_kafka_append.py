"""Where the gateway's appender puts a record is where every Kafka client puts it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import DefaultPartitioner

from services.common.events.kafka_append import _places


@given(st.sets(st.binary(max_size=40), max_size=20), st.integers(1, 12))
def test_a_key_goes_where_the_default_partitioner_puts_it(keys: set[bytes], count: int) -> None:
    partitions, default = range(count), DefaultPartitioner()
    cluster: Any = SimpleNamespace(
        topics=lambda: {"t"}, partitions_for_topic=lambda _: set(partitions), available_partitions_for_topic=lambda _: set()
    )
    expected = {key: default.partition("t", None, key, None, b"", cluster) for key in keys}
    assert _places(partitions, keys) == expected


def test_a_key_goes_where_javas_client_puts_it() -> None:
    """Figures of Apache Kafka's own `Utils.murmur2` test."""
    places = _places(range(1000), {b"21", b"foobar", b"a-little-bit-long-string"})
    hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    assert places == {key: (value & 0x7FFFFFFF) % 1000 for key, value in hashes.items()}
