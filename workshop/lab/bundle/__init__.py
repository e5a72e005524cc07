"""One file with everything that a cluster needs: made on a good network, used without one."""
