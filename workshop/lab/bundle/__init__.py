"""One file with everything that a cluster needs: created on a good network, used without any."""
