"""Only plugins that are named are imported, and of those only the files that were pinned."""

import pytest
import yaml
from click.testing import CliRunner

from perfopt.cli.main import cli
from perfopt.config.loading import EngineConfig
from perfopt.engine import probe_plugins
from perfopt.engine.allowlist import installed_hashes, left_out

CODE = "raise SystemExit('imported')\n"


@pytest.fixture
def third_party(install, tmp_path):
    install("third-party", {"third": "third_module"}, files={"third_module.py": CODE})
    record = "third_module.py,,\nthird_party-1.0.dist-info/METADATA,,\nthird_party-1.0.dist-info/RECORD,,\n"
    (tmp_path / "third_party-1.0.dist-info/RECORD").write_text(record)
    return tmp_path / "third_module.py"


def engine(allowed):
    return EngineConfig(allowed_plugins=allowed, disabled_plugins=("cost",))


def test_everything_is_allowed_unless_set(third_party):
    assert left_out(EngineConfig(disabled_plugins=("cost",))) == ("cost",)


def test_only_what_is_named_is_imported(third_party):
    out = left_out(engine({"resource": "any"}))
    assert "third" in out
    assert {"cost", "scaling"} <= set(out)
    assert not {"resource", "perfopt"} & set(out)
    states = {info.name: info.status.value for info in probe_plugins(out).plugins}
    assert (states["third"], states["resource"]) == ("disabled", "loaded")


def test_changed_files_are_not_what_was_pinned(third_party):
    pinned = {"third": installed_hashes()["third"]}
    assert pinned["third"].startswith("sha256:")
    assert "third" not in left_out(engine(pinned))
    third_party.write_text(CODE + "# changed\n")
    assert "third" in left_out(engine(pinned))


def test_distribution_that_lists_no_files_cannot_be_pinned_by_hash(install):
    install("listless", {"listless": "listless_module"})
    assert installed_hashes()["listless"] == "any"
    assert "listless" in left_out(engine({"listless": f"sha256:{'0' * 64}"}))


def test_pin_prints_the_setting(third_party):
    printed = yaml.safe_load(CliRunner().invoke(cli, ["plugin", "pin"]).stdout)
    assert printed["engine"]["allowed_plugins"]["third"] == installed_hashes()["third"]
    assert "perfopt" not in printed["engine"]["allowed_plugins"]
