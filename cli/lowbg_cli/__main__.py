"""`python -m lowbg_cli` is `lowbg`.

Every worker process imports the program's file: it costs nothing before `main` is called.
"""


def main() -> None:
    """Runs the command line and exits."""
    from lowbg_cli.app import main as run

    run()


if __name__ == "__main__":
    main()
