"""Alembic's entry into the gateway's migrations."""

from alembic import context

from services.common.database import run_migrations
from services.gateway.audit.storage import AuditRow
from services.gateway.keys.storage import KeyRow
from services.gateway.limits.storage import UsageRow
from services.gateway.operations.storage import OperationRow

assert AuditRow.metadata is KeyRow.metadata is UsageRow.metadata is OperationRow.metadata
run_migrations(context, KeyRow.metadata)
