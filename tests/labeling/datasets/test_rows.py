import pytest

from services.common.frames.kinds import Column, Kind, Schema
from services.labeling.datasets.rows import columns_of


@pytest.mark.parametrize(("sent", "read"), [(1.5, 1.5), (1234, 1234.0), ("1.234,5", 1234.5), ("7,25", 7.25), (None, None)])
def test_a_json_number_is_read_as_it_is_whatever_the_columns_spelling(sent: object, read: float | None) -> None:
    schema = Schema((Column(name="price", kind=Kind.NUMERIC, style="decimal_comma"),))
    assert columns_of([{"price": sent}, {"price": "0"}], schema)[0].to_pylist() == [read, 0.0]
