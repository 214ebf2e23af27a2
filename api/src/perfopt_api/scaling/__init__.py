"""How many replicas a service needs: from its latest minutes, or else from its stored plan."""
