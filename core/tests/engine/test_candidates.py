"""Which plugins count, however their distributions came to be on the path."""

import os
import site
import subprocess
import sys
import zipfile

import pytest
from first_party import FIRST_PARTY

from perfopt.engine import probe_plugins
from perfopt.engine.candidates import candidates

EXAMPLE = "perfopt.testing.examples:PEAK"
PLUGIN = "from perfopt.testing.examples import PEAK\n"


def put(folder, name, version="1.0", *, plugin="mine", target=EXAMPLE, metadata=True, stem=None):
    """Writes a distribution's metadata as an installer leaves it; without `metadata` what an upgrade left."""
    info = folder / f"{stem or name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    if metadata:
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if plugin:
        (info / "entry_points.txt").write_text(f"[perfopt.plugins]\n{plugin} = {target}\n")
    return info


def third_party():
    """Returns (plugin, distribution, version) of what the tests installed."""
    found = [
        (one.point.name, one.distribution.name, one.distribution.version)
        for one in candidates()
        if one.point.name not in (*FIRST_PARTY, "perfopt")
    ]
    return sorted(found)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two entries at the beginning of the path, in this order."""
    later, earlier = tmp_path / "later", tmp_path / "earlier"
    for folder in (later, earlier):
        folder.mkdir()
        monkeypatch.syspath_prepend(folder)
    return earlier, later


@pytest.mark.parametrize("plugin", ["mine", None])
@pytest.mark.parametrize("at", [0, 1])
def test_what_an_upgrade_left_hides_no_plugin(folders, at, plugin):
    for version in ("0.1", "0.2", "1.1", "2.0"):
        put(folders[at], "my-dist", version, plugin=plugin, metadata=False)
    put(folders[1], "my-dist", "1.0")
    assert third_party() == [("mine", "my-dist", "1.0")]


def test_of_one_name_the_first_on_the_path_counts_as_it_is_imported(folders):
    earlier, later = folders
    put(later, "My.Dist", "2.0", plugin="newer", stem="my_dist")
    put(later, "other", "2.0", plugin="hidden")
    put(earlier, "my-dist", "1.0", plugin="older")
    put(earlier, "other", "1.0", plugin=None)
    assert third_party() == [("older", "my-dist", "1.0")]


def test_two_distributions_with_the_same_entry_point_are_both_seen(folders):
    put(folders[0], "b-dist")
    put(folders[1], "a-dist")
    assert third_party() == [("mine", "a-dist", "1.0"), ("mine", "b-dist", "1.0")]


def test_a_broken_distribution_without_plugins_does_no_harm(folders):
    info = put(folders[0], "broken", plugin=None)
    (info / "entry_points.txt").write_text("[console_scripts]\nno equals sign\n")
    put(folders[0], "my-dist")
    assert third_party() == [("mine", "my-dist", "1.0")]


def test_a_directory_of_another_name_than_its_distribution_is_a_plugin(folders):
    put(folders[0], "my-dist", stem="my-dist")
    assert third_party() == [("mine", "my-dist", "1.0")]


def test_a_zipped_wheel_on_the_path_is_a_plugin(tmp_path, monkeypatch):
    wheel = tmp_path / "zipped-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("zipped_plugin.py", PLUGIN)
        archive.writestr(
            "zipped-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 1.0\n"
        )
        archive.writestr(
            "zipped-1.0.dist-info/entry_points.txt", "[perfopt.plugins]\nmine = zipped_plugin:PEAK\n"
        )
    monkeypatch.syspath_prepend(wheel)
    assert third_party() == [("mine", "zipped", "1.0")]
    assert "mine/peak" in [one.key for one in probe_plugins(disabled=FIRST_PARTY).strategies]


def test_an_editable_install_is_a_plugin(tmp_path, monkeypatch):
    source, installed = tmp_path / "source", tmp_path / "site"
    (source / "edited.egg-info").mkdir(parents=True)
    (source / "edited.egg-info" / "PKG-INFO").write_text(
        "Metadata-Version: 2.1\nName: edited\nVersion: 3.0\n"
    )
    (source / "edited.egg-info" / "entry_points.txt").write_text(
        "[perfopt.plugins]\nlegacy = edited_plugin:PEAK\n"
    )
    (source / "edited_plugin.py").write_text(PLUGIN)
    put(installed, "modern", target="edited_plugin:PEAK")
    (installed / "edited.pth").write_text(f"{source}\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    site.addsitedir(str(installed))
    assert third_party() == [("legacy", "edited", "3.0"), ("mine", "modern", "1.0")]
    loaded = {one.name: one.status for one in probe_plugins(disabled=FIRST_PARTY).plugins}
    assert loaded["legacy"] == loaded["mine"] == "loaded"


def test_what_is_installed_changed_and_removed_while_running_is_noticed(folders):
    assert third_party() == []
    first = put(folders[0], "my-dist")
    assert third_party() == [("mine", "my-dist", "1.0")]
    put(folders[0], "my-dist", "2.0")
    for file in first.iterdir():
        file.unlink()
    first.rmdir()
    assert third_party() == [("mine", "my-dist", "2.0")]
    os.rename(folders[0] / "my_dist-2.0.dist-info", folders[0] / "~y_dist-2.0.dist-info.old")
    assert third_party() == []


def test_plugins_in_one_namespace_package_over_two_folders_both_load(folders):
    for folder, name in zip(folders, ("one", "two"), strict=True):
        (folder / "spacious").mkdir()
        (folder / "spacious" / f"{name}.py").write_text(PLUGIN)
        put(folder, f"spacious-{name}", plugin=name, target=f"spacious.{name}:PEAK")
    loaded = {one.name: one.status for one in probe_plugins(disabled=FIRST_PARTY).plugins}
    assert loaded["one"] == loaded["two"] == "loaded"


def test_pythonpath_counts(tmp_path):
    put(tmp_path, "my-dist")
    code = "from perfopt.engine.candidates import candidates; print([one.point.name for one in candidates()])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    seen = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert "'mine'" in seen.stdout
