"""`python -m lowbg_cli` is `lowbg`."""

from lowbg_cli.app import main

if __name__ == "__main__":
    main()
