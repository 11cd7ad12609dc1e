"""`python -m bootstrapper`: the same as the console script."""

from bootstrapper.cli import main

if __name__ == "__main__":
    main()
