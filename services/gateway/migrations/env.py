"""Alembic's entry into the gateway's migrations."""

from alembic import context

from services.common.database import run_migrations
from services.gateway.keys.storage import GatewayTable

run_migrations(context, GatewayTable.metadata)
