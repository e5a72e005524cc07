"""A supervised `kubectl port-forward`: one local port that stays, whatever happens to pods and to kubectl.

The supervisor listens on 127.0.0.1 and ::1 itself, and passes each connection on to the port that kubectl
chose. kubectl ends, or hangs, with the pod it forwards to; were it the listener, everything here would be
refused until the next one is up, and another program could take the port meanwhile, and receive tokens.
"""
