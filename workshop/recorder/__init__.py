"""The flight recorder: what went over HTTP during a run, masked, explained, drawn and exported."""
