from alembic import command, config

from services.common.database import Database, schema_differences
from services.registry.app import MIGRATIONS
from services.registry.tables import RegistryTable


def test_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    assert schema_differences(database, RegistryTable.metadata) == []


def test_the_first_migration_can_be_undone(database: Database) -> None:
    alembic = config.Config()
    alembic.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.begin() as connection:
        alembic.attributes["connection"] = connection
        command.downgrade(alembic, "base")
    assert len(schema_differences(database, RegistryTable.metadata)) >= len(RegistryTable.metadata.tables)
