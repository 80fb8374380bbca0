"""`python -m flows`, and the `leadscore` command."""

import sys

from flows.cli import main as run_command_line


def main() -> None:
    """Entry point of the `leadscore` command."""
    sys.exit(run_command_line())


if __name__ == "__main__":
    main()
