"""What ToolHive's files say, without any network: load, check, override and render manifests."""
