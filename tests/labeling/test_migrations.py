from __future__ import annotations

from pathlib import Path

import alembic.command
import alembic.config
import sqlalchemy as sa

from services.common.database import Database, open_database, schema_differences
from services.labeling.app import MIGRATIONS
from services.labeling.tables import LabelingTable


def test_migrations_make_exactly_the_tables_of_the_code(empty_database: Database):
    assert "datasets" in LabelingTable.metadata.tables
    assert schema_differences(empty_database, LabelingTable.metadata) == []


def test_feedback_from_before_fates_keeps_its_ids_positions_and_counts(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'labeling.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config = alembic.config.Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        alembic.command.upgrade(config, "0003")
        connection.exec_driver_sql("INSERT INTO feedback_repeated VALUES ('m', 7)")
        connection.exec_driver_sql(
            "INSERT INTO ledger (position, kind, dataset, labeler, created, why, classes, against, confidence, gold, drawn,"
            " annotator, model, event_id)"
            " VALUES (41, 'vote', 'd', 'l', '2026-01-01', '', '[]', 0, 1, 0, 'found', 'app', 'm', 'e')"
        )
    engine.dispose()
    database = open_database(url, migrations=MIGRATIONS)
    with database.session() as session:
        assert session.execute(sa.text("SELECT position, event_id, fingerprint FROM ledger")).all() == [(41, "e", None)]
        assert session.execute(sa.text("SELECT * FROM feedback_fates")).all() == [("m", "REPEATED", 7)]
    assert schema_differences(database, LabelingTable.metadata) == []
    database.close()
