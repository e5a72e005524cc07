"""The programs that the lab starts: gateway, practice GitHub, identity provider, and the variations' kit."""
