"""What one may not do isn't offered: every link and form that a page shows is one that its reader may use."""

import re
from html import unescape

import pytest

from perfopt_api.auth.authenticate import Authenticator
from perfopt_api.auth.roles import Grant, Principal, Role
from perfopt_api.settings import ApiKey, ServiceSettings
from perfopt_api.store.apply_port import Freeze
from perfopt_api.web.view import NAVIGATION

from .conftest import TOKEN, browser, build, token_of

EDGE = ("edge",)
READERS = {
    "viewer": (Grant(role=Role.VIEWER),),
    "operator": (Grant(role=Role.OPERATOR),),
    "approver": (Grant(role=Role.APPROVER),),
    "admin": (Grant(role=Role.ADMIN),),
    "viewer of all, admin of edge": (Grant(role=Role.VIEWER), Grant(role=Role.ADMIN, namespaces=EDGE)),
}
FORM = re.compile(r'<form method="post" action="([^"]+)"(.*?)</form>', re.S)
FIELD = re.compile(r'<input type="(?:hidden|checkbox)" name="(\w+)" value="([^"]*)"')


def offered(html):
    """Returns the links of a page, and the addresses of its forms with their hidden fields."""
    links = {unescape(link) for link in re.findall(r'(?:href|hx-get|data-events)="(/ui[^"#]*)', html)}
    forms = []
    for action, inside in FORM.findall(html):
        fields = {name: unescape(value) for name, value in FIELD.findall(inside)}
        targets = re.findall(r'formaction="([^"]+)"', inside)
        plain = re.search(r"<button(?![^>]*(formaction|type=))", inside)
        forms += [(target, fields) for target in [*targets, *([action] if plain else [])]]
    return links, forms


@pytest.fixture(params=READERS)
async def reader(request, database, waiting, monkeypatch):
    keys = {"rita": ApiKey(token=TOKEN)}
    world = build(database, ServiceSettings(requests_per_second=100_000, api_keys=keys))
    holder = Principal(name="rita", grants=READERS[request.param], credential="key:x")
    monkeypatch.setattr(Authenticator, "key_holder", lambda *_: holder)
    object.__setattr__(world.web.api, "executor", True)
    for scope in ("*", "trading"):
        await world.web.api.applies.set_freeze(Freeze(scope=scope, reason="release"))
    async with browser(world.app) as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        yield client


async def test_every_link_and_form_on_a_page_is_one_that_its_reader_may_use(reader):
    seen, waiting, forms = set(), {"/ui"}, {}
    while waiting:
        path = waiting.pop()
        seen.add(path)
        if path.endswith("/events") or "/static/" in path:
            continue
        answer = await reader.get(path)
        assert answer.status_code not in (401, 403), path
        links, found = offered(answer.text)
        forms |= {(target, tuple(fields.items())): fields for target, fields in found}
        waiting |= {link for link in links if "price_book" not in link} - seen
    for (target, _), fields in forms.items():
        # The guard comes first, so a form that it lets through is refused for the token that lacks.
        scope = {} if "scope" in fields else {"scope": "edge" if "trading" not in target else "trading"}
        answer = await reader.post(target, data=fields | scope | {"form_token": "x"})
        if target in ("/ui/freeze", "/ui/restore"):  # whose scope the reader writes
            continue
        assert "The form is not of this session" in answer.text, (target, fields, answer.text[-500:])


async def test_pages_of_all_namespaces_are_not_offered_within_one(database, analysed):
    grants = {"ed": ApiKey(token=TOKEN, role=Role.ADMIN, namespaces=EDGE)}
    world = build(database, ServiceSettings(requests_per_second=100_000, api_keys=grants))
    async with browser(world.app) as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        text = (await client.get("/ui")).text
        for path, _ in NAVIGATION:
            status = (await client.get(path)).status_code
            assert (status == 200) == (f'<a href="{path}"' in text), path


@pytest.mark.parametrize(("name", "offers"), [("alice", False), ("bob", True)])
async def test_a_change_is_offered_for_approval_to_others_than_who_asked_for_it(
    guarded, waiting, name, offers
):
    tokens = {key: one.token for key, one in guarded.web.api.settings.api_keys.items()}
    async with browser(guarded.app) as client:
        client.headers["authorization"] = f"Bearer {tokens[name]}"
        text = (await client.get(f"/ui/jobs/{waiting}")).text
        assert (f"/ui/jobs/{waiting}/approve" in text) == offers
        form = {"form_token": token_of(text)}
        done = await client.post(f"/ui/jobs/{waiting}/approve", data=form, follow_redirects=False)
        assert done.status_code == (303 if offers else 409)
