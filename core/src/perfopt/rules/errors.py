"""The error of wrong rule packs."""

from perfopt.errors import InvalidInputError


class RulePackError(InvalidInputError):
    """A rule pack is wrong; says file, line and what to write instead."""

    code = "invalid_rule_pack"
