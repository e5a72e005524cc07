"""The companion page of `workshop open`: the lesson, your progress, and the handshake as it happens."""
