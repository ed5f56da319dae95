from __future__ import annotations

from pathlib import Path

from services.common.database import open_database, schema_differences
from services.labeling.app import MIGRATIONS
from services.labeling.tables import LabelingTable


def test_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path):
    database = open_database(f"sqlite:///{tmp_path / 'labeling.db'}", migrations=MIGRATIONS)
    assert "datasets" in LabelingTable.metadata.tables
    assert schema_differences(database, LabelingTable.metadata) == []
    database.close()
