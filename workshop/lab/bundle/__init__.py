"""Everything a cluster needs in one file: made on a good network, used where there is none."""
