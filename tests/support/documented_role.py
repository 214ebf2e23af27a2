"""The role that docs/how-to/read-a-cluster.md shows."""

import re
from pathlib import Path

import yaml

PAGE = Path(__file__).parents[2] / "docs/how-to/read-a-cluster.md"


def documented_rights() -> set[tuple[str, str]]:
    """Returns the groups and resources that it lists; it has no other verb."""
    found = re.search(r"# cluster-role.yaml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    role = next(each for each in yaml.safe_load_all(found[1]) if each["kind"] == "ClusterRole")
    assert all(rule["verbs"] == ["list"] for rule in role["rules"])
    return {
        (group, kind) for rule in role["rules"] for group in rule["apiGroups"] for kind in rule["resources"]
    }
