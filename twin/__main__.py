"""`python -m twin`: see twin/cli.py."""

from twin.cli import main

if __name__ == "__main__":
    main()
