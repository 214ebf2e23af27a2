"""What commands print: tables, plans, progress. Shared by the CLI, the demo and the model registry."""
