"""Migrations of labeling's database. Import every module with tables here: what isn't imported isn't compared."""

from alembic import context

import services.labeling.datasets.storage
import services.labeling.feedback.storage
import services.labeling.label_sets.storage
import services.labeling.labelers.storage
import services.labeling.specs.storage
import services.labeling.votes.storage  # noqa: F401
from services.common.database import run_migrations
from services.labeling.tables import LabelingTable

run_migrations(context, LabelingTable.metadata)
