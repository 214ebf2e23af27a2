"""A simulated Kubernetes API server, with controllers, a kubelet and pods whose metrics react to resources.

It is a simulation: no container ever runs. Its answers follow recordings of a Kubernetes 1.36 API server.
"""
