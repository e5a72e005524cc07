"""A cluster's objects over the `kubernetes` package's dynamic client: apply, look, wait."""
