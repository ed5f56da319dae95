"""Migrations of the registry's database."""

from alembic import context

from services.common.database import run_migrations
from services.registry.tables import RegistryTable

run_migrations(context, RegistryTable.metadata)
