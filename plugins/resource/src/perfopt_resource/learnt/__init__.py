"""Sizing by a model learnt across a fleet, in place of the rule, where the user names such a model."""
