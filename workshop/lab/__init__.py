"""What a part runs on: the three backends, their processes, bundles, and the programs they call.

It knows nothing of lessons.
"""
