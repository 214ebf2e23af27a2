"""What a services file says of where a service runs reaches the workload that strategies see."""

from datetime import UTC, datetime

from perfopt.config.loading import FilesConfig
from perfopt.sources.files.services import read_services
from perfopt.sources.files.source import FileSource

SAMPLES = "series_id,timestamp,metric,value\nweb,2026-01-01T00:00:00Z,cpu_cores,0.5\n"
SERVICES = """\
defaults:
  zones: [eu-1a, eu-1b]
services:
  web:
    node_type: m6i.large
    topology_spread_constraints:
      - {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway}
"""


async def test_zones_node_type_and_spread_are_read(tmp_path):
    (tmp_path / "samples.csv").write_text(SAMPLES)
    (tmp_path / "services.yaml").write_text(SERVICES)
    config = FilesConfig(paths=str(tmp_path / "samples.csv"))
    source = FileSource("files", config, read_services(tmp_path / "services.yaml"))
    (web,) = await source.inventory(datetime(2026, 1, 2, tzinfo=UTC))
    assert web.zones == ("eu-1a", "eu-1b")
    state = web.state.to_map()
    assert state["node_type"] == "m6i.large"
    assert [one["maxSkew"] for one in state["topology_spread_constraints"]] == [1]
