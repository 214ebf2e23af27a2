"""One module a page: each handler reads, and renders."""
