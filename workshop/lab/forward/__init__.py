"""A supervised `kubectl port-forward`: one local port that stays, whatever happens to pods and to kubectl.

The supervisor itself listens on 127.0.0.1 and ::1, and passes each connection on to the port that kubectl
chose. kubectl ends or hangs with the pod that it forwards to. If kubectl were the listener, connections would
be refused until the next one runs, and another program could take the port meanwhile and receive tokens.
"""
