"""`python -m regrow.cli`."""

from regrow.cli.main import main

if __name__ == "__main__":
    main()
