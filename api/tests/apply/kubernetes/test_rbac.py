import yaml
from click.testing import CliRunner

from perfopt_api.apply.kubernetes.access import cluster_role
from perfopt_api.commands.rbac import rbac


def test_command_prints_the_generated_role():
    answer = CliRunner().invoke(rbac, [])
    assert (answer.exit_code, yaml.safe_load(answer.output)) == (0, cluster_role())


def test_read_only_role_cannot_write():
    answer = CliRunner().invoke(rbac, ["--read-only", "--name", "viewer"])
    role = yaml.safe_load(answer.output)
    assert role["metadata"]["name"] == "viewer"
    assert not {"patch", "create", "delete"} & {verb for rule in role["rules"] for verb in rule["verbs"]}


def test_custom_kinds_that_are_named_are_part_of_the_role():
    answer = CliRunner().invoke(rbac, ["--kind", "widgets.example.com"])
    rules = yaml.safe_load(answer.output)["rules"]
    own = {each["resources"][0]: each["verbs"] for each in rules if each["apiGroups"] == ["example.com"]}
    assert own == {"widgets": ["get", "patch", "watch"], "widgets/scale": ["get", "patch"]}
    assert CliRunner().invoke(rbac, ["--kind", "widgets"]).exit_code == 2
