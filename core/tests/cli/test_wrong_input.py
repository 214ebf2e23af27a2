"""Mistakes at the edges of options and files: exit status 2, and a sentence with field and remedy."""

import pytest

LONG = "9" * 5000


@pytest.mark.parametrize("origins", ["0", "-1", "abc"])
def test_wrong_origins_are_refused_before_any_service_is_read(run, origins):
    done = run("backtest", "--source", "nowhere.parquet", "--all", f"--origins={origins}")
    assert (done.exit_code, "origins:" in done.output) == (2, True)


def test_a_number_too_long_to_read_is_no_internal_error(run, tmp_path):
    (tmp_path / "long.yaml").write_text(f"engine: {{deadline_seconds: {LONG}}}")
    in_file = run("config", "show", "--config", tmp_path / "long.yaml")
    in_option = run("config", "show", "--set", f"tuning.knob_catalogue={LONG}")
    for done in (in_file, in_option):
        assert done.exit_code == 2
        assert "Internal" not in done.output
        assert len(done.output) < 1000


def test_a_word_of_python_is_no_name_of_a_plugin(run, tmp_path):
    done = run("plugin", "new", "class", "--type", "resource", "--path", tmp_path)
    assert (done.exit_code, "no word of Python" in done.output) == (2, True)
    assert not list(tmp_path.iterdir())


def test_training_does_not_begin_where_the_model_can_t_be_written(run, tmp_path):
    done = run("train", "--what", "latency", "--out", tmp_path / "nowhere" / "model.bin")
    assert (done.exit_code, "--out" in done.output) == (2, True)
