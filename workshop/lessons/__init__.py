"""The tutorial as a whole: find its parts, bring up what they need, run them, rehearse them all."""
