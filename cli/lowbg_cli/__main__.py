"""`python -m lowbg_cli` is `lowbg`.

Every worker process imports the program's file: it costs nothing before `main` is called.
"""

import sys


def main() -> None:
    """Runs the command line and exits."""
    try:
        from lowbg_cli.loading import for_good

        with for_good():
            from lowbg_cli.app import main as run
    except KeyboardInterrupt:  # Signals are not handled yet.
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
