import json
import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from perfopt.cli.main import cli
from perfopt.domain.accuracy import DEFINITION

SHORT = ("--history", "7d", "--validity", "3d")


@pytest.fixture
def traces(pytestconfig):
    """Fifteen days of three services."""
    return pytestconfig.rootpath / "core/tests/data/bitbrains_three_vms.parquet"


@pytest.fixture
def run(traces):
    def invoke(*arguments, source=traces):
        return CliRunner().invoke(
            cli, ["backtest", "--source", str(source), *map(str, arguments)], prog_name="perfopt"
        )

    return invoke


def test_a_table_names_every_policy_with_its_figures(run):
    done = run("--all", *SHORT, "--policy", "vpa", "--policy", "max", "--cuts", "2")
    assert done.exit_code == 0, done.stderr
    assert "3 services, 2 cuts" in done.stdout
    assert re.search(r"^vpa +6 +0 +0 +[\d.]+%", done.stdout, re.MULTILINE)
    assert re.search(r"^max +6 +0 +0 +[\d.]+%", done.stdout, re.MULTILINE)
    assert "krr" not in done.stdout


def test_the_same_bytes_whatever_the_number_of_processes(run):
    one, three = (run("--all", *SHORT, "--format", "json", "--processes", n) for n in (1, 3))
    assert one.exit_code == 0, one.stderr
    assert one.stdout == three.stdout
    found = json.loads(one.stdout)
    assert found["definition"] == DEFINITION
    assert len(found["cuts"]) == 4
    ours = next(p for p in found["policies"] if p["policy"] == "perfopt")
    assert ours["calibration"]["count"] == ours["all"]["scored"]
    assert next(p for p in found["policies"] if p["policy"] == "crane")["calibration"] is None


def test_figures_on_services_that_the_model_was_trained_on_are_marked(run, pytestconfig):
    trained = run("--all", *SHORT, "--policy", "perfopt", "--cuts", "1")
    assert re.search(r"^perfopt IN-SAMPLE +", trained.stdout, re.MULTILINE)
    assert "IN-SAMPLE: 3 of 3 recommendations of perfopt" in trained.stdout
    shown = pytestconfig.rootpath / "api/src/perfopt_api/demo/data/bitbrains.parquet"
    demo = run("--all", *SHORT, "--policy", "perfopt", "--cuts", "1", source=shown)
    assert demo.exit_code == 0, demo.stderr
    assert "IN-SAMPLE" not in demo.stdout


def test_services_are_chosen_by_name_or_pattern(run):
    chosen = run(
        "--all", "--match", "vm3", "--exclude", "338$", *SHORT, "--policy", "max", "--format", "json"
    )
    named = run("--service", "bitbrains-rnd/vm333", *SHORT, "--policy", "max", "--format", "json")
    assert json.loads(chosen.stdout)["services"] == 1
    assert chosen.stdout == named.stdout


def test_one_plugin_can_be_replayed_alone(run):
    done = run("--all", *SHORT, "--policy", "perfopt", "--plugin", "resource", "--cuts", "1")
    assert done.exit_code == 0, done.stderr
    assert re.search(r"^perfopt IN-SAMPLE +3 ", done.stdout, re.MULTILINE)


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data")]
        if tag not in ("meta", "line", "circle", "rect", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_alone_and_draws_frontier_and_reliability(run, tmp_path):
    path = tmp_path / "report.html"
    done = run("--all", *SHORT, "--html", path)
    assert done.exit_code == 0, done.stderr
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.addresses == []
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import|https?://", text)
    assert page.tags.count("svg") >= 3  # two frontiers and reliability
    assert "goldilocks-burstable" in page.text
    assert "nan" not in text


@pytest.fixture
def jump(tmp_path):
    """A service with an odd name whose use jumps ninefold when a replay has just been made."""
    lines = ["series_id,timestamp,metric,value"]
    for hour in range(15 * 24):
        stamp = f"2026-03-{1 + hour // 24:02d}T{hour % 24:02d}:00:00Z"
        lines.append(f"<b>&co,{stamp},cpu_cores,{0.1 if hour < 280 else 0.9}")
    source = tmp_path / "t.csv"
    source.write_text("\n".join(lines) + "\n")
    config = tmp_path / "perfopt.yaml"
    config.write_text(f"sources:\n  odd: {{type: files, paths: {source}, step_seconds: 3600}}\n")
    return config


def test_the_page_draws_what_fell_short_and_by_how_much(run, jump, tmp_path):
    path = tmp_path / "r.html"
    done = run("--all", *SHORT, "--config", jump, "--html", path, source="odd")
    assert done.exit_code == 0, done.stderr
    page = Page()
    page.feed(path.read_text())
    assert "The worst misses of perfopt" in page.text
    assert page.tags.count("svg") == 3  # the frontier of cpu, reliability, and the one miss
    assert re.search(r", cpu, 2026-03-\d\d \d\d:\d\d:.* 900m", " ".join(page.text))


def test_names_of_services_are_escaped_in_the_page(run, jump, tmp_path):
    path = tmp_path / "r.html"
    done = run("--all", *SHORT, "--config", jump, "--policy", "max", "--html", path, source="odd")
    assert done.exit_code == 0, done.stderr
    assert "<b>&co" not in path.read_text()
    assert "&lt;b&gt;&amp;co" in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--all", "--policy", "krr"), "There is no policy 'krr'. Known: perfopt, krr-simple, "),
        ((), "Give either --service NAME (once or more) or --all."),
        (("--service", "vm33"), "There is no service 'vm33'."),
        (("--all", "--plugin", "sizer"), "There is no plugin 'sizer' that loaded. Loaded: "),
        (("--all", "--plugin", "resource", "--policy", "max"), "Add --policy perfopt."),
        (("--all", "--match", "["), "match: '[' is not a regular expression"),
        (("--all", "--match", "nothing"), "None of the 3 services is left to replay."),
        (("--all", "--history", "ages"), "history: 'ages' is not a duration."),
        (("--all", "--from", "2013-07-01"), "from: '2013-07-01' names no time zone."),
        (("--all", "--cuts", "0"), "cuts: 0 cuts are out of range."),
        (
            ("--all", "--from", "2013-07-01T00:00:00Z"),
            "which do not hold a history of 14d and a validity of 7d. Give an earlier --from, or a shorter",
        ),
        (
            ("--all", "--until", "2012-01-01T00:00:00Z", "--policy", "max"),
            "Nothing could be scored from 2011-11-20T00:00:00.000Z to 2012-01-01T00:00:00.000Z: 3 services",
        ),
        (("--all", "--html", "/nowhere/r.html"), "html: There is no folder /nowhere."),
        (("--all", "--cuts", "1", "--policy", "max", "--html", "/proc/r.html", *SHORT), "can't be written"),
    ],
)
def test_wrong_input_is_one_clear_line(run, arguments, said):
    done = run(*arguments)
    assert done.exit_code != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_services_that_ended_before_others_are_replayed_on_what_they_have(run, pytestconfig):
    folder = pytestconfig.rootpath / "api/src/perfopt_api/demo/data"  # of 2013, 2014 and 2022
    options = ("--match", "bitbrains", *SHORT, "--policy", "max", "--cuts", "1")
    done = run("--all", *options, source=folder)
    assert done.exit_code == 0, done.stderr
    alone = run("--all", *options, source=folder / "bitbrains.parquet")
    assert done.stdout == alone.stdout


def test_a_service_that_cannot_be_replayed_is_told_what_it_needs(run, pytestconfig):
    folder = pytestconfig.rootpath / "api/src/perfopt_api/demo/data"
    for kind in ("resource", "scaling"):
        done = run("--type", kind, "--all", "--match", "nab/ec2", source=folder)
        assert done.exit_code != 0
        assert "state capacity.cpu in the services file" in done.stderr
