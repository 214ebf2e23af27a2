"""Settings of an OpenID Connect issuer."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from perfopt_api.auth.roles import Grant

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures by a key pair; none by a shared secret, which every reader of the setting could sign with."""


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose tokens are taken, and what they allow.

    Attributes:
        issuer: its address, exactly as tokens carry it in `iss`.
        audience: what `aud` of a token has to name.
        jwks_url: where its keys are; found by its discovery document otherwise.
        algorithms: of signatures.
        leeway_seconds: that its clock and ours may differ.
        name_claim: holds the name for approvals and the audit.
        roles_claim: holds a group, or several.
        grants: by group, the roles and namespaces it has.
        default_grants: what every token of the issuer has besides.
        ca_file: PEM file of the authority that signed the issuer's certificate.
        client_id: of the dashboard at the issuer; unset, browsers sign in with tokens only. Needs base_url,
            and the redirect address `<base_url>/ui/login/oidc/callback` at the issuer.
        client_secret: of the client, if it has one. Also `env:NAME` or `file:PATH`.
        scopes: that the dashboard asks for.
        session_seconds: how long a session of the dashboard lasts, 12 hours at most.
        login_seconds: how long signing in at the issuer may take.
    """

    issuer: Annotated[str, Meta(pattern="^https?://[^ ]+$", max_length=500)]
    audience: Annotated[str, Meta(min_length=1, max_length=500)]
    jwks_url: Annotated[str, Meta(pattern="^https?://[^ ]+$", max_length=500)] | None = None
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1)] = ("RS256", "ES256")
    leeway_seconds: Annotated[float, Meta(ge=0, le=300)] = 30.0
    name_claim: str = "sub"
    roles_claim: str = "groups"
    grants: dict[str, tuple[Grant, ...]] = {}
    default_grants: tuple[Grant, ...] = ()
    ca_file: str | None = None
    client_id: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    client_secret: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    scopes: Annotated[tuple[Annotated[str, Meta(pattern="^[!#-\\[\\]-~]+$")], ...], Meta(min_length=1)] = (
        "openid",
        "profile",
        "email",
    )
    session_seconds: Annotated[int, Meta(ge=60, le=43_200)] = 28_800
    login_seconds: Annotated[int, Meta(ge=30, le=3600)] = 600
