"""The `kind` and `kubernetes` backends, and everything that looks at a live cluster."""
