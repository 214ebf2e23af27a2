from perfopt_api.apply.kubernetes.access import CALLS, KINDS, Call, rules


def test_read_only_role_has_no_verb_that_writes():
    assert {verb for rule in rules(write=False) for verb in rule["verbs"]} <= {"get", "list", "watch"}


def test_role_allows_every_call_and_nothing_else():
    allowed = {
        (verb, group, resource)
        for rule in rules()
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    calls = [*CALLS, *(call for kind in KINDS for call in kind.calls())]
    assert allowed == {(c.verb, c.group, "/".join(filter(None, (c.resource, c.subresource)))) for c in calls}


def test_only_the_config_map_that_freezes_is_read():
    (rule,) = [rule for rule in rules() if rule["resources"] == ["configmaps"]]
    assert rule["resourceNames"] == ["perfopt-freeze"]


def test_paths_are_those_of_the_api():
    assert (
        Call("get", "", "v1", "pods", "resize").path("shop", "p") == "/api/v1/namespaces/shop/pods/p/resize"
    )
    assert Call("list", "", "v1", "nodes", namespaced=False).path() == "/api/v1/nodes"
