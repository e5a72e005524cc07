"""The flight recorder: what went over HTTP during a run, masked, told as a diagram, a story and a HAR."""
