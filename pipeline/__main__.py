"""`python -m pipeline` is the `loglinear` command."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
