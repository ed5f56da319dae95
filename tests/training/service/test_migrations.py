"""The migrations make exactly the tables of the code."""

from services.common.database import Database, schema_differences
from services.training.tables import TrainingTable


def test_the_migrations_make_the_tables_of_the_code(database: Database) -> None:
    assert schema_differences(database, TrainingTable.metadata) == []
