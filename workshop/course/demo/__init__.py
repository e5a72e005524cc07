"""Demo scripts: typed at a real terminal, paced for a room, recorded, and held to their golden text."""
