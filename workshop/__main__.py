"""`python -m workshop`: the same as `workshop`."""

from workshop.cli.main import run

if __name__ == "__main__":
    run()
