"""What an analysis changes: as rows (`changes`), as tables and data frames (`frames`), in files (`files`)."""
