"""Signing in at an OpenID Connect provider that runs in the test, as a browser does it."""

import base64
import hashlib
import json
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from perfopt_api.auth.authenticate import Authenticator
from perfopt_api.auth.oidc import OidcVerifier
from perfopt_api.auth.roles import Grant, Role
from perfopt_api.auth.settings import OidcSettings
from perfopt_api.settings import ServiceSettings

from .conftest import WORKLOAD, browser, build

ISSUER, CLIENT = "https://login.example", "dashboard"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SETTINGS = ServiceSettings(
    requests_per_second=100_000,
    base_url="http://perfopt.test",
    oidc=OidcSettings(
        issuer=ISSUER,
        audience="api",
        client_id=CLIENT,
        client_secret="a-secret-of-the-client",
        grants={
            "sre": (Grant(role=Role.OPERATOR),),
            "edge": (Grant(role=Role.VIEWER, namespaces=("edge",)),),
        },
    ),
)


class Provider:
    """An identity provider: gives codes to a browser, and an ID token for a code with its PKCE verifier."""

    def __init__(self):
        self.groups = ["sre"]
        self.claims = {}
        self.codes = {}

    def authorize(self, address):
        """What a user does there: returns the address that leads back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert address.startswith(f"{ISSUER}/authorize?")
        assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == (
            "code", CLIENT, "S256",
        )  # fmt: skip
        assert "openid" in asked["scope"]
        self.codes["the-code"] = asked
        return f"{asked['redirect_uri']}?code=the-code&state={asked['state']}"

    def __call__(self, request):
        if request.url.path == "/.well-known/openid-configuration":
            paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            paths["end_session_endpoint"] = "end"
            found = {name: f"{ISSUER}/{path}" for name, path in paths.items()}
            return httpx.Response(200, json={"issuer": ISSUER, **found})
        if request.url.path == "/keys":
            key = json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(KEY.public_key()))
            return httpx.Response(200, json={"keys": [key | {"kid": "one", "use": "sig"}]})
        return self._token({name: values[0] for name, values in parse_qs(request.content.decode()).items()})

    def _token(self, form):
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        if (
            asked is None
            or challenge.decode().rstrip("=") != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
            or (form["client_id"], form["client_secret"]) != (CLIENT, "a-secret-of-the-client")
        ):
            return httpx.Response(400, json={"error": "invalid_grant"})
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": CLIENT, "sub": "ann", "groups": self.groups, "iat": now, "exp": now + 60,
            "nonce": asked["nonce"],
        } | self.claims  # fmt: skip
        return httpx.Response(
            200, json={"id_token": jwt.encode(claims, KEY, algorithm="RS256", headers={"kid": "one"})}
        )


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
async def visitor(database, provider):
    app = build(database, SETTINGS).app
    verifier = OidcVerifier(SETTINGS.oidc, transport=httpx.MockTransport(provider))
    app.state.auth = Authenticator(SETTINGS, None, verifier)
    async with browser(app) as client:
        yield client


async def begin(visitor, provider, page="/ui/workloads"):
    answer = await visitor.get(f"/ui/login/oidc?next={page}", follow_redirects=False)
    assert answer.status_code == 303
    return provider.authorize(answer.headers["location"])


async def test_a_browser_signs_in_and_goes_on_to_its_page(visitor, provider, analysed):
    form = await visitor.get("/ui/workloads")
    assert "/ui/login/oidc?next=%2Fui%2Fworkloads" in form.text
    answer = await visitor.get(await begin(visitor, provider))
    assert answer.status_code == 200
    assert 'content="0; url=/ui/workloads"' in answer.text
    shown = await visitor.get("/ui/workloads")
    assert "ann" in shown.text
    assert WORKLOAD in shown.text


async def test_the_session_outlives_the_short_id_token_and_is_closed_to_other_sites(visitor, provider):
    answer = await visitor.get(await begin(visitor, provider))
    cookie = next(one for one in answer.headers.get_list("set-cookie") if "perfopt_session" in one).lower()
    assert "samesite=strict" in cookie
    assert "httponly" in cookie
    state = visitor._transport.app.state
    now = state.now()
    for hours, status in ((7, 200), (9, 303)):
        state.now = lambda hours=hours: now + timedelta(hours=hours)
        assert (await visitor.get("/ui/jobs", follow_redirects=False)).status_code == status


async def test_a_group_bound_to_a_namespace_sees_that_namespace_only(visitor, provider, analysed):
    provider.groups = ["edge"]
    await visitor.get(await begin(visitor, provider))
    for path in ("/ui", "/ui/workloads", "/ui/approvals"):
        shown = await visitor.get(path)
        assert shown.status_code == 200, path
        assert WORKLOAD not in shown.text
    assert "edge/deployment/gateway" in (await visitor.get("/ui/workloads")).text
    assert (await visitor.get("/ui/audit")).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "another client"},
        {"nonce": "another sign-in"},
        {"iss": "https://other.example"},
        {"exp": 1},
        {"groups": ["nobody"]},
    ],
)
async def test_a_token_of_something_else_is_refused(visitor, provider, change):
    provider.claims = change
    answer = await visitor.get(await begin(visitor, provider))
    assert answer.status_code == 401
    assert "perfopt_session" not in answer.headers.get("set-cookie", "")


async def test_an_answer_to_another_sign_in_is_refused(visitor, provider):
    mine = await begin(visitor, provider)
    assert (await visitor.get(mine.replace("state=", "state=x"))).status_code == 401
    visitor.cookies.clear()
    assert (await visitor.get(mine)).status_code == 401


async def test_a_code_is_worth_nothing_in_another_browser(visitor, provider):
    stolen = await begin(visitor, provider)
    mine = await begin(visitor, provider)
    code = parse_qs(urlsplit(stolen).query)["code"][0]
    state = parse_qs(urlsplit(mine).query)["state"][0]
    provider.codes[code]["code_challenge"] = "of the other browser"
    answer = await visitor.get(f"/ui/login/oidc/callback?code={code}&state={state}")
    assert answer.status_code == 401
    assert "invalid_grant" in answer.text


async def test_the_providers_refusal_is_shown_and_escaped(visitor, provider):
    await begin(visitor, provider)
    answer = await visitor.get("/ui/login/oidc/callback?error=<b>access_denied</b>&state=x")
    assert answer.status_code == 401
    assert "access_denied" in answer.text
    assert "<b>access_denied" not in answer.text


async def test_no_page_of_another_site_is_gone_on_to(visitor, provider):
    answer = await visitor.get(await begin(visitor, provider, page="https://evil.example"))
    assert "evil.example" not in answer.text


async def test_signing_out_ends_the_session_and_shows_the_way_to_the_provider(visitor, provider):
    await visitor.get(await begin(visitor, provider))
    page = await visitor.get("/ui/workloads")
    token = page.text.split('name="form_token" value="')[1].split('"')[0]
    after = await visitor.post("/ui/logout", data={"form_token": token})
    assert f"{ISSUER}/end?client_id={CLIENT}" in after.text
    assert "/ui/login" in str((await visitor.get("/ui")).url)


def test_a_client_needs_an_address_to_lead_back_to():
    with pytest.raises(ValueError, match="base_url"):
        ServiceSettings(oidc=SETTINGS.oidc)
