"""Starts the service: `python -m services.labeling`."""

from services.labeling.app import main

main()
