import json
import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from config_file import write_config

from perfopt.cli.main import cli
from perfopt.domain.accuracy import DEFINITION
from perfopt.domain.enums import OptimizationType

SHORT = ("--history", "7d", "--validity", "3d")
MAX = ("--types", "resource", "--policy", "max")


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
    names = ("--policy", "vpa", "--policy", "vpa+20%+cap", "--policy", "max", "--origins", "2")
    done = run("--all", *SHORT, "--types", "resource", *names)
    assert done.exit_code == 0, done.stderr
    assert "3 services, 6 origins" in done.stdout
    assert re.search(r"^RESOURCE +vpa +6/6 +0 +0% +[\d.]+% \(", done.stdout, re.MULTILINE)
    assert re.search(r"^RESOURCE +max +6/6 +0 +0% +[\d.]+% \(", done.stdout, re.MULTILINE)
    assert re.search(r"^RESOURCE +vpa\+20%\+cap +6/6 ", done.stdout, re.MULTILINE)
    assert "krr" not in done.stdout


def test_all_types_stand_in_one_table_whatever_the_number_of_processes(run):
    names = ("--policy", "perfopt", "--policy", "live", "--policy", "current", "--origins", "1")
    one, three = (run("--all", *SHORT, *names, "--format", "json", "--processes", n) for n in (1, 3))
    assert one.exit_code == 0, one.stderr
    assert one.stdout == three.stdout
    sizing_model = json.loads(one.stdout)
    assert sizing_model["definition"] == DEFINITION
    assert (sizing_model["services"], sizing_model["origins"]) == (3, 3)
    policies = {(p["optimization_type"], p["policy"]): p for p in sizing_model["policies"]}
    assert {kind for kind, _ in policies if kind is not None} == set(OptimizationType)
    assert {("SCALING_OPTIMIZATION", "live"), ("COST_OPTIMIZATION", "current"), (None, "plan")} <= set(
        policies
    )
    ours = policies["RESOURCE_OPTIMIZATION", "resource/resource"]
    assert ours["calibration"]["count"] == ours["all"]["scored"] == 3
    assert not ours["baseline"]


def test_figures_on_services_that_the_model_was_trained_on_are_marked(run, pytestconfig):
    ours = ("--all", *SHORT, "--types", "resource", "--policy", "perfopt", "--origins", "1")
    trained = run(*ours)
    assert re.search(r"^RESOURCE +resource/resource IN-SAMPLE +", trained.stdout, re.MULTILINE)
    assert "IN-SAMPLE: 3 of 3 recommendations of resource/resource" in trained.stdout
    shown = pytestconfig.rootpath / "api/src/perfopt_api/demo/data/bitbrains.parquet"
    demo = run(*ours, source=shown)
    assert demo.exit_code == 0, demo.stderr
    assert "IN-SAMPLE" not in demo.stdout


def test_each_service_has_the_origins_that_its_own_samples_allow(run, pytestconfig):
    folder = pytestconfig.rootpath / "api/src/perfopt_api/demo/data"
    options = ("--types", "resource", "--policy", "current", "--services", folder / "services.yaml")
    done = run("--all", *options, "--format", "json", source=folder)
    assert done.exit_code == 0, done.stderr
    sizing_model = json.loads(done.stdout)
    assert (sizing_model["services"], sizing_model["validity"]) == (13, "7d")
    (kept,) = sizing_model["policies"]
    assert (kept["calibration"], kept["all"]["no_change"], kept["all"]["realised_saving"]) == (None, 1, 0)
    assert "4 services are scored on 6h after each origin." in sizing_model["notes"]


def test_each_evaluated_recommendation_is_written_as_a_row(run, tmp_path):
    path = tmp_path / "rows.csv"
    done = run("--all", *SHORT, *MAX, "--origins", "2", "--rows", path)
    assert done.exit_code == 0, done.stderr
    header, *rows = path.read_text().splitlines()
    assert header.startswith('"service","service_class","made_at","policy"')
    assert len(rows) == 6


def test_services_without_samples_are_one_line(run, pytestconfig):
    folder = pytestconfig.rootpath / "api/src/perfopt_api/demo/data"
    options = ("--types", "resource", "--policy", "max", "--services", folder / "services.yaml")
    done = run("--all", *options, source=folder / "nab.parquet")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    assert "5 services have no samples in this source and are left out: nab/cpu-utilization" in done.stdout
    assert "Failed" not in done.stdout


def test_services_are_chosen_by_name_or_pattern(run):
    chosen = run("--all", "--match", "vm3", "--exclude", "338$", *SHORT, *MAX, "--format", "json")
    named = run("--service", "bitbrains-rnd/vm333", *SHORT, *MAX, "--format", "json")
    assert json.loads(chosen.stdout)["services"] == 1
    assert chosen.stdout == named.stdout


def test_one_plugin_can_be_evaluated_alone(run):
    done = run("--all", *SHORT, "--policy", "perfopt", "--plugin", "resource", "--origins", "1")
    assert done.exit_code == 0, done.stderr
    rows = [line.split()[:2] for line in done.stdout.splitlines() if re.match(r"[A-Z]+ +\w+/", line)]
    assert rows == [["RESOURCE", "resource/resource"]]


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data")]
        if tag not in ("meta", "br", "line", "circle", "rect", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_alone_and_draws_frontiers_and_replicas(run, tmp_path):
    path = tmp_path / "report.html"
    types = ("--types", "resource,scaling", "--origins", "1")
    done = run("--all", *SHORT, *types, "--html", path)
    assert done.exit_code == 0, done.stderr
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.addresses == []
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import|https?://", text)
    assert page.tags.count("svg") >= 2  # the frontiers of cpu and memory
    assert "Reliability of confidence" not in text  # three recommendations say nothing of it
    assert "goldilocks-burstable" in text
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
    return write_config(tmp_path, f"sources:\n  odd: {{type: files, paths: {source}, step_seconds: 3600}}\n")


def test_the_page_draws_what_fell_short_and_by_how_much(run, jump, tmp_path):
    path = tmp_path / "r.html"
    done = run("--all", *SHORT, "--types", "resource", "--config", jump, "--html", path, source="odd")
    assert done.exit_code == 0, done.stderr
    page = Page()
    page.feed(path.read_text())
    assert "Worst misses" in page.text
    assert page.tags.count("svg") == 2  # the frontier of cpu, and the one miss
    assert re.search(r", cpu, 2026-03-\d\d \d\d:\d\d:.* 900m", " ".join(page.text))


def test_names_of_services_are_escaped_in_the_page(run, jump, tmp_path):
    path = tmp_path / "r.html"
    done = run("--all", *SHORT, "--config", jump, *MAX, "--html", path, source="odd")
    assert done.exit_code == 0, done.stderr
    assert "<b>&co" not in path.read_text()
    assert "&lt;b&gt;&amp;co" in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--all", "--policy", "krr"), "There is no policy 'krr' of RESOURCE_OPTIMIZATION, "),
        ((), "Give either --service NAME (once or more) or --all."),
        (("--service", "vm33"), "There is no service 'vm33'."),
        (("--all", "--plugin", "sizer"), "There is no plugin 'sizer' that loaded. Loaded: "),
        (("--all", "--plugin", "resource", "--policy", "max"), "Add --policy perfopt."),
        (("--all", "--match", "["), "match: '[' is not a regular expression"),
        (("--all", "--match", "nothing"), "None of the 3 services is left to backtest."),
        (("--all", "--history", "ages"), "history: 'ages' is not a duration."),
        (("--all", "--from", "2013-07-01"), "from: '2013-07-01' names no time zone."),
        (("--all", "--origins", "0"), "0 origins are out of range."),
        (("--all", "--types", "size"), "'size' is not an optimization type."),
        (
            ("--all", "--from", "2013-07-01T00:00:00Z"),
            "which do not hold a history of 14d and a validity of 7d. Give an earlier --from, or a shorter",
        ),
        (
            ("--all", "--until", "2012-01-01T00:00:00Z", "--policy", "max"),
            "Nothing could be scored: 3 services failed, first: The samples from 2013-07-01T00:00:00.000Z",
        ),
        (("--all", "--rows", "r.txt"), "rows: r.txt is neither CSV nor Parquet by its name."),
        (("--all", "--html", "/nowhere/r.html"), "html: There is no folder /nowhere."),
        (("--all", "--origins", "1", *MAX, "--html", "/proc/r.html", *SHORT), "can't be written"),
    ],
)
def test_wrong_input_is_one_clear_line(run, arguments, message):
    done = run(*arguments)
    assert done.exit_code != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_services_that_ended_before_others_are_evaluated_on_what_they_have(run, pytestconfig):
    folder = pytestconfig.rootpath / "api/src/perfopt_api/demo/data"  # of 2013, 2014 and 2022
    options = ("--match", "bitbrains", *SHORT, *MAX, "--origins", "1")
    done = run("--all", *options, source=folder)
    assert done.exit_code == 0, done.stderr
    alone = run("--all", *options, source=folder / "bitbrains.parquet")
    assert done.stdout == alone.stdout


def test_a_service_that_cannot_be_evaluated_says_what_it_needs(run, pytestconfig):
    folder = pytestconfig.rootpath / "api/src/perfopt_api/demo/data"
    for options in (MAX, ("--simulate", "minutes")):
        done = run("--all", *options, "--match", "nab/ec2", source=folder)
        assert done.exit_code != 0
        assert "state capacity.cpu in the services file" in done.stderr
