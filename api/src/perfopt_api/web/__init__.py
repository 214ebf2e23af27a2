"""The dashboard: pages rendered by the server, that work without scripts."""
