"""docs/reference/configuration.md is what the structs of the settings say. Run this file to write it anew."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from perfopt.config.describe import SettingField, describe
from perfopt.config.kubernetes import KubernetesConfig
from perfopt.config.loading import EngineConfig, FilesConfig, NamespaceRules, RulesConfig, section_names
from perfopt.config.prices import NodeTypeConfig, PriceBookConfig
from perfopt.config.prometheus import PrometheusConfig
from perfopt.engine.loading import load_plugins
from perfopt_api.apply.verification.harm import HarmMargins
from perfopt_api.apply.verification.settings import VerificationSettings
from perfopt_api.auth.roles import Grant
from perfopt_api.auth.settings import OidcSettings
from perfopt_api.policy.git import GitRepository
from perfopt_api.policy.hooks import GateHook, HookSettings, NotificationHook
from perfopt_api.policy.settings import PolicySettings, SizeRange
from perfopt_api.settings import ApiKey, ServiceSettings

PAGE = Path(__file__).parents[2] / "docs/reference/configuration.md"
INTRODUCTION = """# Configuration

One YAML file, named by `--config` or `PERFOPT_CONFIG`. These go before it:

1. `--set NAME.KEY=VALUE` for a setting of a plugin or section.
2. Variables: `PERFOPT_<SECTION>__<FIELD>`, such as `PERFOPT_ENGINE__PROCESSES=2` and
   `PERFOPT_PLUGINS__TUNING__KNOB_CATALOGUE=knobs.yaml` (`-` in a name is `_`).
3. `PERFOPT_DEFAULT_SOURCE` and `PERFOPT_PRICE_BOOK` for the two fields at the top.

`perfopt config show` prints every setting, those of third-party plugins included, and where it is set:

```console
$ PERFOPT_ENGINE__PROCESSES=2 perfopt config show
engine:
  deadline_seconds: 10.0  # default
  processes: 2  # PERFOPT_ENGINE__PROCESSES
```

A wrong value or an unknown field is an error that names the setting, its file and line, and what is accepted.

```yaml
# perfopt.yaml
sources:
  production:
    type: prometheus
    url: http://prometheus:9090
    kubernetes: {context: production}
  samples: {type: files, paths: api/src/perfopt_api/demo/data/bitbrains.parquet}
default_source: production
price_books:
  onprem: {currency: EUR, cpu_core_hour: 0.018, memory_gib_hour: 0.0024}
price_book: onprem
engine:
  under_provisioning_penalties: {critical: 15, standard: 9.5, batch: 6}
service:
  database_url: postgresql://perfopt:secret@postgres:5432/perfopt
  nats_url: nats://nats:4222
```

`python tests/docs/test_configuration.py` generates this page. Defaults are in brackets.

## Top level

| setting | type | meaning |
|---|---|---|
| `sources` | mapping of names to sources | metric sources |
| `default_source` | text | source of requests that name none; not needed with one source |
| `price_books` | mapping of names to price books | [prices of your own](../how-to/price-books.md) |
| `price_book` | text [`default`] | book of workloads that name none |
"""
RANGE = re.compile(r", (above|at least|at most|\d).*")
OWN = {"perfopt", *(f"perfopt-{name}" for name in ("cost", "latency", "resource", "scaling", "tuning"))}
SECTIONS: tuple[tuple[str, str, type[msgspec.Struct]], ...] = (
    ("sources.NAME", "with `type: prometheus`", PrometheusConfig),
    ("sources.NAME", "with `type: files`", FilesConfig),
    ("sources.NAME.kubernetes", "the Kubernetes API beside a Prometheus", KubernetesConfig),
    ("price_books.NAME", "or the path of a YAML file with these fields", PriceBookConfig),
    ("price_books.NAME.node_types[]", "", NodeTypeConfig),
    ("engine", "", EngineConfig),
    ("rules", "see [rules](rules.md)", RulesConfig),
    ("service", "the REST API and the worker", ServiceSettings),
    ("service.api_keys.NAME", "", ApiKey),
    ("service.oidc", "an OpenID Connect issuer whose tokens are taken", OidcSettings),
    ("service.oidc.grants.GROUP[]", "", Grant),
    ("policy", "whether, when and how far changes are made in a cluster", PolicySettings),
    ("policy.ranges.PATTERN", "", SizeRange),
    ("hooks", "who is asked and told about changes", HookSettings),
    ("hooks.gates.NAME", "", GateHook),
    ("hooks.notifications.NAME", "", NotificationHook),
    ("git.repositories.NAME", "a repository that manifests are committed to", GitRepository),
    ("verification", "when a change counts as harmful", VerificationSettings),
    ("verification.margins", "", HarmMargins),
)


def test_every_section_of_the_configuration_is_described():
    described = {path.partition(".")[0] for path, _, _ in SECTIONS}
    assert set(section_names()) <= described


def page() -> str:
    parts = [INTRODUCTION]
    parts += [
        f"## `{path}`{f': {about}' if about else ''}\n\n{table(describe(kind))}"
        for path, about, kind in SECTIONS
    ]
    own = ", ".join(f"`{one.name}`" for one in describe(NamespaceRules))
    parts.append(f"## `rules.namespaces.NAME`\n\n{own}, as above, for this namespace only.\n")
    settings = [
        msgspec.structs.replace(one, name=f"{name}.{one.name}")
        for name, fields in plugins()
        for one in fields
    ]
    return "\n".join([*parts, f"## `plugins`\n\n{table(tuple(settings))}"])


def plugins() -> list[tuple[str, tuple[SettingField, ...]]]:
    return [(info.name, info.settings) for info in load_plugins().plugins if info.distribution in OWN]


def table(fields: tuple[SettingField, ...]) -> str:
    shown = [one for one in fields if not one.description.startswith("deprecated name")]
    rows = [f"| `{one.name}` | {values(one)} | {meaning(one)} |" for one in shown]
    return "\n".join(["| setting | type | meaning |", "|---|---|---|", *rows, ""])


def values(one: SettingField) -> str:
    """Returns the type without its range, which errors name, and the default in brackets."""
    shown = RANGE.sub("", one.type).replace("text or list of text", "text or list")
    if one.required:
        return f"{shown}, required"
    return f"{shown} [`{flow(one.default)}`]" if one.default or one.default in (False, 0) else shown


def flow(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def meaning(one: SettingField) -> str:
    text = one.description.replace("|", "\\|").removesuffix(".")
    return text if one.deprecated is None else f"{text} (deprecated name: `{one.deprecated}`)"


def test_the_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "Run python tests/docs/test_configuration.py."


def test_every_setting_is_described() -> None:
    fields = [(path, one) for path, _, kind in SECTIONS for one in describe(kind)]
    fields += [(name, one) for name, settings in plugins() for one in settings]
    assert [f"{path}.{one.name}" for path, one in fields if not one.description] == []


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
