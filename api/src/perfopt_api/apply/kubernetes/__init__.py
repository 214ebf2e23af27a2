"""Changes made on a Kubernetes API: what is read, written and refused, and the permissions that takes."""
