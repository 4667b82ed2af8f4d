"""`python -m pollux`."""

from pollux.runtime.cli import app

if __name__ == "__main__":
    app()
