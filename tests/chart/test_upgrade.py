"""What an upgrade of the chart may change: no field that Kubernetes keeps, and no value of before."""

import json
import shutil
import subprocess

import pytest
from helm_chart import CASES, CHART, case_name, immutable_fields, last_tagged_chart

IMMUTABLE = CHART.parents[1] / "tests/chart/golden/immutable.json"
"""Written anew only with a release whose upgrade notes say what to delete first."""
pytest.importorskip("helm_python", reason="Helm in a wheel is for Linux on x86-64")


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_an_upgrade_changes_no_field_that_cannot_be_changed(case):
    before = json.loads(IMMUTABLE.read_text())[case_name(case)]
    now = immutable_fields(case)
    assert {name: now[name] for name in before if name in now} == {
        name: fields for name, fields in before.items() if name in now
    }


def test_an_upgrade_from_the_last_tag_takes_its_values_and_changes_no_such_field(tmp_path):
    before = last_tagged_chart(CHART.parents[1], tmp_path)
    if before is None:
        return  # nothing was released yet; the file above stands for it
    assert_upgrades(before)


def test_the_chart_of_the_last_tag_is_that_of_the_newest_release(tmp_path):
    repository, chart = tmp_path / "repository", tmp_path / "repository/charts/perfopt"
    shutil.copytree(CHART, chart)
    release(repository, "v0.1.0")
    (chart / "Chart.yaml").write_text((chart / "Chart.yaml").read_text() + "# later\n")
    release(repository, "v0.2.0")
    (chart / "values.yaml").write_text("")
    release(repository, "mine")
    before = last_tagged_chart(repository, tmp_path / "before")
    assert before is not None
    assert (before / "Chart.yaml").read_text().endswith("# later\n")
    assert_upgrades(before)


def test_an_upgrade_that_changes_a_selector_or_refuses_values_of_the_last_tag_is_noticed(tmp_path):
    repository, chart = tmp_path / "repository", tmp_path / "repository/charts/perfopt"
    shutil.copytree(CHART, chart)
    helpers = chart / "templates/_helpers.tpl"
    helpers.write_text(helpers.read_text().replace("app.kubernetes.io/instance:", "release:"))
    release(repository, "v1.0.0")
    before = last_tagged_chart(repository, tmp_path / "before")
    with pytest.raises(AssertionError):
        assert_upgrades(before)


def test_without_a_tag_there_is_no_chart_of_it(tmp_path):
    release(tmp_path, None)
    assert last_tagged_chart(tmp_path, tmp_path / "before") is None


def assert_upgrades(before):
    """What the chart before made of its values, the present one makes with no immutable field changed."""
    for case in sorted(before.glob("ci/*-values.yaml")):
        old, new = immutable_fields(case, before), immutable_fields(case)
        assert {name: new[name] for name in old if name in new} == {
            name: fields for name, fields in old.items() if name in new
        }


def release(repository, tag):
    """Commits all of a folder, and tags it."""
    repository.mkdir(exist_ok=True)
    (repository / "README.md").write_text(tag or "none")
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "Release"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    if tag:
        subprocess.run(["git", "tag", tag], cwd=repository, check=True)
