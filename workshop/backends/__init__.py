"""Where the workloads of a part run; one protocol, so that nothing above knows which."""
