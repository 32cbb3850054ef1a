"""The command `geosleuth`: check that our packages are ours, then run the command line."""

from __future__ import annotations

import sys

from geosleuth.conflicts import package_conflict


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: unless all went well; with status 2 if another distribution's package hides one of ours.
    """
    if problem := package_conflict():
        sys.stderr.write(f"geosleuth: error: {problem}\n")
        raise SystemExit(2)
    from apps.cli import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
