"""`python -m workshop.identity --config FILE`: serve the practice identity provider on loopback."""

from workshop.identity.app import create_app
from workshop.serving import main

if __name__ == "__main__":
    main(create_app)
