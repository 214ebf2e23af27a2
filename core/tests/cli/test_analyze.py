import json

SERVICE = "bitbrains-rnd/vm237"


def install_broken_plugin(folder):
    info = folder / "late_plugin-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late-plugin\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[perfopt.plugins]\nlate = late_plugin\n")
    (folder / "late_plugin.py").write_text("import a_library_that_is_missing\n")


def test_a_plugin_that_can_not_be_imported_is_a_warning(run, traces, tmp_path, monkeypatch):
    install_broken_plugin(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ("analyze", "--source", traces, "--service", SERVICE, "--types", "scaling")
    reason = "No module named 'a_library_that_is_missing'"

    done = run(*arguments, "--format", "json")
    assert done.exit_code == 0, done.output
    warnings = json.loads(done.stdout)["results"][0]["warnings"]
    (warning,) = [one for one in warnings if one["code"] == "plugin_not_loaded"]
    assert warning["plugin"] == "late"
    assert warning["message"].startswith("The plugin late 2.0 was not loaded.")
    assert reason in warning["message"]

    assert "The plugin late 2.0 was not loaded." in " ".join(run(*arguments).stdout.split())
    table = run(*arguments, "--verbose")
    assert reason in " ".join(table.stdout.split())
