"""Starts the service: `python -m services.training`."""

from services.training.app import main

if __name__ == "__main__":
    main()
