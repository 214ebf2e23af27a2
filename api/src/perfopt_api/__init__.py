"""perfopt as a service: REST API, worker, PostgreSQL store, NATS events."""
