"""One class for each external program the cluster backends drive: docker, kind, helm, kubectl."""
