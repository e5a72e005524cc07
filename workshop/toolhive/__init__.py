"""What we know of ToolHive 0.63.0: its manifests, their rules, and the secrets they name."""
