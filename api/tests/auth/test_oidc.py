"""Tokens of a local issuer: real keys, a real discovery document, and everything that may be wrong."""

import json
import time
from datetime import UTC, datetime

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from perfopt.errors import UnavailableError
from perfopt_api.auth.authenticate import Authenticator
from perfopt_api.auth.oidc import KEYS_SECONDS, RETRY_SECONDS, OidcVerifier
from perfopt_api.auth.roles import Grant, Right, Role
from perfopt_api.auth.settings import OidcSettings
from perfopt_api.errors import UnauthorizedError
from perfopt_api.settings import ServiceSettings

ISSUER = "https://login.example"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
SETTINGS = OidcSettings(
    issuer=ISSUER,
    audience="perfopt",
    name_claim="email",
    grants={
        "sre": (Grant(role=Role.OPERATOR),),
        "shop": (Grant(role=Role.VIEWER, namespaces=("shop",)),),
    },
)


def public(key, kid, algorithm="RS256"):
    document = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    return document | {"kid": kid, "use": "sig", "alg": algorithm}


class Issuer:
    """Serves discovery and keys, and counts how often they are read."""

    def __init__(self):
        self.keys = [public(RSA, "one")]
        self.reads = 0
        self.down = False
        self.named = ISSUER

    def __call__(self, request):
        if self.down:
            raise httpx.ConnectError("refused")
        if request.url.path == "/.well-known/openid-configuration":
            return httpx.Response(200, json={"issuer": self.named, "jwks_uri": f"{ISSUER}/keys"})
        self.reads += 1
        return httpx.Response(200, json={"keys": self.keys})


def sign(key=RSA, kid="one", algorithm="RS256", **changes):
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": "perfopt", "sub": "u1", "email": "ann@example.com", "groups": ["sre"],
        "iat": now, "exp": now + 300,
    } | changes  # fmt: skip
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, key, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def verifier(issuer, clock):
    return OidcVerifier(SETTINGS, transport=httpx.MockTransport(issuer), monotonic=lambda: clock[0])


async def test_a_token_names_its_holder_and_grants(verifier):
    who = await verifier.principal(sign(groups=["shop", "other"]))
    assert (who.name, who.namespaces(Right.READ)) == ("ann@example.com", {"shop"})
    assert (await verifier.principal(sign(groups="sre"))).namespaces(Right.CHANGE) is None
    assert (await verifier.principal(sign(email=None))).name == "u1"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"exp": int(time.time()) - 60},
        {"exp": None},
        {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
        {"sub": None},
        {"groups": ["nobody"]},
        {"groups": None},
        {"email": "x" * 101},
        {"key": OTHER},
        {"kid": "two"},
        {"key": EC, "algorithm": "ES256"},
        {"key": "a shared secret of thirty-two characters", "algorithm": "HS256"},
        {"key": None, "algorithm": "none"},
    ],
)
async def test_what_is_wrong_is_refused(verifier, changes):
    with pytest.raises(UnauthorizedError) as refused:
        await verifier.principal(sign(**changes))
    assert refused.value.reason == "refused_jwt"


@pytest.mark.parametrize("token", ["a.b.c", "..", "é.é.é", sign()[:-6] + "AAAAAA"])
async def test_malformed_and_altered_tokens_are_refused(verifier, token):
    with pytest.raises(UnauthorizedError):
        await verifier.principal(token)


async def test_clocks_may_differ_by_the_leeway(verifier):
    now = int(time.time())
    await verifier.principal(sign(exp=now - 20))
    with pytest.raises(UnauthorizedError):
        await verifier.principal(sign(exp=now - 40))


async def test_new_keys_are_found_and_withdrawn_ones_go(verifier, issuer, clock):
    await verifier.principal(sign())
    issuer.keys = [public(EC, "two", "ES256")]
    clock[0] += RETRY_SECONDS
    await verifier.principal(sign(EC, "two", "ES256"))
    with pytest.raises(UnauthorizedError):
        await verifier.principal(sign())


async def test_withdrawn_key_is_refused_within_the_hour(verifier, issuer, clock):
    await verifier.principal(sign())
    issuer.keys = [public(OTHER, "two")]
    clock[0] += KEYS_SECONDS
    with pytest.raises(UnauthorizedError):
        await verifier.principal(sign())


async def test_invented_keys_do_not_make_it_read_again_and_again(verifier, issuer):
    await verifier.principal(sign())
    for number in range(20):
        with pytest.raises(UnauthorizedError):
            await verifier.principal(sign(kid=f"invented {number}"))
    assert issuer.reads == 1


async def test_issuer_that_is_down_keeps_nobody_out_who_was_in(verifier, issuer, clock):
    await verifier.principal(sign())
    issuer.down = True
    clock[0] += KEYS_SECONDS
    await verifier.principal(sign())


async def test_issuer_never_reached_is_unavailable_and_no_refusal(verifier, issuer):
    issuer.down = True
    with pytest.raises(UnavailableError, match=r"login\.example"):
        await verifier.principal(sign())


async def test_discovery_of_another_issuer_is_not_believed(verifier, issuer):
    issuer.named = "https://evil.example"
    with pytest.raises(UnavailableError):
        await verifier.principal(sign())


async def test_the_authenticator_takes_both_kinds(verifier):
    settings = ServiceSettings(oidc=SETTINGS)
    auth = Authenticator(settings, None, verifier, now=lambda: datetime.now(UTC))
    assert (await auth.principal(f"Bearer {sign()}")).name == "ann@example.com"
    with pytest.raises(UnauthorizedError):
        await auth.principal("Bearer perfopt_00_x")
    with pytest.raises(UnauthorizedError):
        await auth.principal(None)
