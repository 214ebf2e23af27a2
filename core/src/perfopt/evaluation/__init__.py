"""Scores recommendations on data that came after them: what is safe, accurate and saved. Pure."""
