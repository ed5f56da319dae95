"""Migrations of training's database."""

from alembic import context

from services.common.database import run_migrations
from services.training.tables import TrainingTable

run_migrations(context, TrainingTable.metadata)
