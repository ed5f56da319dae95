"""Starts the service: `python -m services.registry`. `--help` tells what else it does."""

from pathlib import Path

from services.common.checking import check_if_asked
from services.common.command_line import read_command_line
from services.registry.settings import RegistrySettings

read_command_line("registry", "The registry service: projects, models, versions and aliases, over gRPC.")
check_if_asked(RegistrySettings, "registry", Path(__file__).parent / "migrations")

from services.registry.app import main  # noqa: E402 (a check may find that what this imports is missing)

main()
