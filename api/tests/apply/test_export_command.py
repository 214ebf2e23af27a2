"""`perfopt export` on what `perfopt analyze` printed."""

import msgspec
import pytest
from click.testing import CliRunner

from perfopt.cli.main import cli
from perfopt.testing import make_recommendation

ID = "opt_20261123_001"


@pytest.fixture
def run(tmp_path):
    def invoke(recommendations, *arguments):
        text = msgspec.json.encode(recommendations)
        return CliRunner().invoke(cli, ["export", "--out", str(tmp_path / "out"), *arguments], input=text)

    return invoke


def test_manifests_are_written_with_the_commands_that_apply_them(run, tmp_path):
    made = make_recommendation(recommendation_id=ID)
    done = run([made])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == f"{ID}  {made.service_name}: {made.description}"
    files = sorted(path.name for path in (tmp_path / "out" / ID).iterdir())
    assert "kustomization.yaml" in files
    assert all(f"{tmp_path}/out/{ID}/{name}" in done.stdout for name in files)
    assert "kubectl patch " in done.stdout


def test_it_says_where_the_files_do_at_once_what_policy_does_in_steps(run):
    lower = {"containers": {"app": {"cpu_request": "100m"}}}
    higher = {"containers": {"app": {"cpu_request": "1"}}}
    made = make_recommendation(recommendation_id=ID, current_state=higher, recommended_state=lower)
    assert "at once; by policy (largest_step_down, largest_step_up) it is 4 steps" in run([made]).stdout
    half = {"containers": {"app": {"cpu_request": "500m"}}}
    small = make_recommendation(recommendation_id=ID, current_state=higher, recommended_state=half)
    assert "at once" not in run([small]).stdout


def test_only_those_named_are_written(run, tmp_path):
    other = make_recommendation(recommendation_id="opt_20261123_002")
    done = run([make_recommendation(recommendation_id=ID), other], "opt_20261123_002")
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["opt_20261123_002"]


def test_no_change_is_nothing_to_export(run, tmp_path):
    made = make_recommendation(recommendation_id=ID)
    same = msgspec.structs.replace(made, recommended_state=made.current_state, no_change_needed=True)
    done = run([same])
    assert (done.exit_code, (tmp_path / "out").exists()) == (0, False)
    assert "Nothing to export" in done.stderr


def test_a_kind_that_no_patch_can_change_is_left_out_with_the_reason(run, tmp_path):
    made = make_recommendation(recommendation_id=ID)
    done = run([msgspec.structs.replace(made, workload="shop/pod/api")])
    assert done.exit_code == 0, done.output
    assert f"Left out: {ID}: No patch can be written for shop/pod/api" in done.stderr


def test_a_directory_that_cannot_be_made_is_wrong_input(run, tmp_path):
    (tmp_path / "out").write_text("a file")
    done = run([make_recommendation(recommendation_id=ID)])
    assert done.exit_code == 2


def test_a_service_is_asked_by_id_only(run):
    done = run([], "--server", "http://localhost:1")
    assert done.exit_code == 2
    assert "name the recommendations" in done.stderr
