from simulated_objects import DEPLOYMENTS, deployment, sized

PATH = f"{DEPLOYMENTS}/checkout"
HEAD = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "checkout"}}
SIZE = HEAD | sized(requests={"cpu": "300m", "memory": "200Mi"})


def create(ask):
    ask("POST", f"{DEPLOYMENTS}?fieldManager=kubectl", deployment())


def apply(ask, body, manager="perfopt", *, force=False):
    return ask("PATCH", f"{PATH}?fieldManager={manager}{'&force=true' if force else ''}", body, patch="apply")


def requests(answer):
    return answer.body["spec"]["template"]["spec"]["containers"][0]["resources"].get("requests", {})


def test_conflict_names_the_manager_and_its_fields(ask):
    create(ask)
    answer = apply(ask, SIZE)
    assert answer.status == 409
    first = 'Apply failed with 2 conflicts: conflicts with "kubectl" using apps/v1:\n'
    path = '- .spec.template.spec.containers[name="app"].resources.requests.'
    assert answer.body["message"] == f"{first}{path}cpu\n{path}memory"
    assert {cause["reason"] for cause in answer.body["details"]["causes"]} == {"FieldManagerConflict"}


def test_forced_field_is_deleted_when_it_is_given_up(ask):
    create(ask)
    assert requests(apply(ask, SIZE, force=True)) == {"cpu": "300m", "memory": "200Mi"}
    dropped = apply(ask, HEAD | sized(requests={"cpu": "300m"}))
    assert requests(dropped) == {"cpu": "300m"}


def test_equal_values_are_shared_and_an_update_takes_them_from_both(ask):
    create(ask)
    apply(ask, SIZE, force=True)
    assert apply(ask, HEAD | sized(requests={"cpu": "300m"}), "auditor").status == 200
    ask("PATCH", f"{PATH}?fieldManager=kubectl", sized(requests={"cpu": "400m"}), patch="strategic")
    answer = apply(ask, SIZE)
    assert 'conflict with "kubectl" using apps/v1: ' in answer.body["message"]


def test_who_scales_owns_replicas_through_the_subresource(ask):
    create(ask)
    ask("PATCH", f"{PATH}/scale?fieldManager=scaler", {"spec": {"replicas": 5}}, patch="merge")
    answer = apply(ask, HEAD | {"spec": {"replicas": 2}})
    assert '"scaler" with subresource "scale" using apps/v1: .spec.replicas' in answer.body["message"]


def test_environment_is_owned_by_name(ask):
    create(ask)
    container = {"name": "app", "env": [{"name": "GOMEMLIMIT", "value": "230MiB"}]}
    body = HEAD | {"spec": {"template": {"spec": {"containers": [container]}}}}
    answer = apply(ask, body)
    assert answer.status == 200
    assert answer.body["spec"]["template"]["spec"]["containers"][0]["env"] == container["env"]


def test_unknown_field_fails_whatever_the_validation(ask):
    create(ask)
    answer = apply(ask, HEAD | {"spec": {"replica": 3}})
    assert (answer.status, answer.body["message"].rpartition(": ")[2]) == (
        500,
        "field not declared in schema",
    )
