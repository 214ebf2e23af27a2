"""What is kept in PostgreSQL. Rows never leave this package: callers get domain structs."""
