"""`python -m services.cli` is `afterword`."""

from services.cli.app import main

if __name__ == "__main__":
    main()
