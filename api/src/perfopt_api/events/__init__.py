"""From the outbox to NATS JetStream."""
