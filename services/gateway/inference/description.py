"""What a served model reads and answers, in enough detail to make a form of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regrow.gateway.v1 import gateway_pb2
from services.common.bundle import Bundle, Input
from services.gateway.inference.loading import Loaded
from services.gateway.json_reading import fill_struct

MOST_CATEGORIES = 1000


def described(name: str, loaded: Loaded) -> gateway_pb2.ServedModel:
    """The answer to `GetServedModel` for the model `name`."""
    manifest = loaded.bundle.manifest
    served = gateway_pb2.ServedModel(
        name=name, version=loaded.target.name, class_names=manifest.spec.class_names,
        multi_label=manifest.spec.multi_label, design=in_words(manifest.design),
        inputs=[_column(column, loaded.bundle) for column in manifest.inputs],
    )  # fmt: skip
    fill_struct(loaded.example, served.example_row)
    return served


def in_words(design: Mapping[str, Any]) -> str:
    """`template text-table, text minilm, tabular ffn-small`."""
    described = design.get("description")
    if isinstance(described, str) and described:
        return described
    return ", ".join(f"{name} {value}" for name, value in design.items() if isinstance(value, str | int | float) and value)


def _column(column: Input, bundle: Bundle) -> gateway_pb2.InputColumn:
    made = gateway_pb2.InputColumn(name=column.name, kind=column.kind, may_be_missing=column.missing_seen)
    if column.low is not None and column.high is not None:
        if column.kind == "datetime":
            made.earliest.FromSeconds(round(column.low))
            made.latest.FromSeconds(round(column.high))
        else:
            made.minimum, made.maximum = column.low, column.high
    found = [one for table in bundle.tables for one in table.categories if one.name == column.name]
    known = [value for one in found for value in (*one.values, *one.rare)]
    made.categories.extend(known[:MOST_CATEGORIES])
    made.other_categories = len(known) > MOST_CATEGORIES or any(one.other for one in found)
    made.longest_tokens = bundle.longest(column.name)
    return made
