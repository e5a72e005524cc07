"""`python -m workshop.servers.identity --config FILE`: serve the practice identity provider on loopback."""

from workshop.core.serving import main
from workshop.servers.identity.app import create_app

if __name__ == "__main__":
    main(create_app)
