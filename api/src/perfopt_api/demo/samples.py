"""The bundled samples as configured metric sources, and what the demo asks of each."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from perfopt.config.loading import Config, FilesConfig, SourceConfig
from perfopt.domain.enums import OptimizationType
from perfopt.engine.candidates import candidates

DATA = Path(__file__).parent / "data"


class SampleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One analysis that the demo asks for.

    Attributes:
        source: the name of the sample.
        service_name: a series of it.
        validity: how long the recommendation must hold; short where the history is.
        types: of recommendations; none is all.
    """

    source: str
    service_name: str
    validity: str = "7d"
    types: tuple[OptimizationType, ...] = ()


BOUTIQUE = "nezha/online-boutique/2022-08-22"
REQUESTS = (
    SampleRequest(source="bitbrains", service_name="bitbrains-rnd/vm024"),
    # The interval of its forecast is too wide for a week: RESOURCE abstains and says so.
    SampleRequest(source="bitbrains", service_name="bitbrains-rnd/vm282"),
    SampleRequest(source="bitbrains", service_name="bitbrains-rnd/vm328"),
    SampleRequest(source="nab", service_name="nab/ec2-cpu-utilization-5f5533"),
    SampleRequest(source="nab-group", service_name="nab/cpu-utilization-asg-misconfiguration"),
    SampleRequest(source="boutique", service_name=f"{BOUTIQUE}/frontend", validity="6h"),
    SampleRequest(source="boutique", service_name=f"{BOUTIQUE}/currencyservice", validity="6h"),
    SampleRequest(source="boutique", service_name=f"{BOUTIQUE}/cartservice", validity="6h"),
    # Twenty hours of history are too short for seven days: every type abstains and says so.
    SampleRequest(source="boutique", service_name=f"{BOUTIQUE}/checkoutservice"),
)


def sample_sources() -> dict[str, SourceConfig]:
    """Returns the samples, by name."""
    services = str(DATA / "services.yaml")
    return {
        "bitbrains": FilesConfig(paths=str(DATA / "bitbrains.parquet")),
        "nab": FilesConfig(paths=str(DATA / "nab.parquet"), services=services),
        "nab-group": FilesConfig(paths=str(DATA / "nab_group.parquet"), services=services),
        "boutique": FilesConfig(paths=str(DATA / "nezha.parquet"), services=services),
    }


def third_party_plugins() -> tuple[str, ...]:
    """Returns the names of the installed plugins that are not of this project."""
    installed = sorted({one.identity for one in candidates()})
    return tuple(name for name, distribution in installed if not f"{distribution}-".startswith("perfopt-"))


def without_plugins(config: Config, names: Sequence[str]) -> Config:
    """Returns the configuration with plugins disabled, so that a demo shows the same on every machine."""
    disabled = (*config.engine.disabled(), *names)
    return msgspec.structs.replace(
        config, engine=msgspec.structs.replace(config.engine, disabled_plugins=disabled)
    )


def with_samples(config: Config) -> Config:
    """Returns the configuration with the samples as sources where it has none of its own."""
    if config.sources:
        return config
    return msgspec.structs.replace(config, sources=sample_sources(), default_source="bitbrains")
