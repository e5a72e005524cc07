"""Demo scripts: typed at a real terminal at a person's speed, recorded, compared with a golden text."""
