"""Did a change do harm: a canary against the pods beside it, by tests that may be looked at at any time."""
