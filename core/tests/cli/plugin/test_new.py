def test_a_package_is_created_and_what_comes_next_is_printed(run, tmp_path):
    done = run("plugin", "new", "pool-sizer", "--type", "tuning", "--path", tmp_path)
    assert done.exit_code == 0, done.output
    written = {line for line in done.stdout.splitlines() if line.startswith(str(tmp_path))}
    assert written == {str(p) for p in (tmp_path / "pool-sizer").rglob("*") if p.is_file()}
    assert "  perfopt plugin check pool-sizer\n" in done.stdout


def test_a_package_is_never_overwritten(run, tmp_path):
    arguments = ("plugin", "new", "mine", "--type", "cost", "--path", tmp_path)
    assert run(*arguments).exit_code == 0
    done = run(*arguments)
    assert done.exit_code == 1
    assert "exists already" in done.stderr


def test_names_and_types_that_make_no_package_are_wrong_input(run, tmp_path):
    for name, kind in (("My Plugin", "cost"), ("mine", "cost,scaling"), ("mine", "speed")):
        done = run("plugin", "new", name, "--type", kind, "--path", tmp_path)
        assert done.exit_code == 2, done.output
    assert not list(tmp_path.iterdir())
