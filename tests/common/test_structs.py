"""Structs as Python has them."""

from __future__ import annotations

import json
import math

from google.protobuf.struct_pb2 import Struct

from services.common.structs import plain_struct


def test_a_struct_is_what_json_can_say() -> None:
    content = {"a": 1.5, "b": "x", "c": True, "d": None, "e": [1.0, ["y"], {}], "f": {"g": {"h": ""}}}
    struct = Struct()
    struct.update(content)
    assert plain_struct(struct) == content


def test_numbers_that_json_does_not_know_and_values_that_say_nothing_are_none() -> None:
    struct = Struct()
    struct.update({"nested": {"list": [0.0]}})
    struct.fields["nan"].number_value, struct.fields["infinite"].number_value = math.nan, -math.inf
    struct.fields["nested"].struct_value.fields["list"].list_value.values.add().number_value = math.inf
    struct.fields["unset"].Clear()
    plain = plain_struct(struct)
    assert plain == {"nested": {"list": [0.0, None]}, "nan": None, "infinite": None, "unset": None}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
