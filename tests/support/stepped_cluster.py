"""The simulated Kubernetes API and its pods' series, in time that a test moves."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from perfopt.config.kubernetes import KubernetesConfig
from perfopt_api.apply.kubernetes.cluster import KubernetesCluster
from perfopt_api.apply.verification.settings import VerificationSettings
from perfopt_api.apply.verification.source import SourceVerifier
from perfopt_api.simulated.kubernetes.clock import ManualClock
from perfopt_api.simulated.kubernetes.cluster import ClusterOptions, SimulatedCluster
from perfopt_api.simulated.kubernetes.server import SimulatedServer
from perfopt_api.simulated.source import PodRecorder, SimulatedSource


class SteppedCluster(KubernetesCluster):
    """A Kubernetes API whose time the driver moves; what its pods count meanwhile is recorded.

    Attributes:
        server: the API server.
        recorder: of its pods' counters.
        scrape: seconds from one look of the recorder to the next; None does not look.
    """

    def __init__(
        self, config: KubernetesConfig, server: SimulatedServer, *, scrape: float | None = None
    ) -> None:
        super().__init__(config, clock=lambda: self.now)
        self.server = server
        self.recorder = PodRecorder(server.cluster)
        self.scrape = scrape

    @property
    def now(self) -> datetime:
        """The present instant."""
        return datetime.fromtimestamp(self.server.cluster.clock.now(), UTC)

    def advance(self, seconds: float) -> None:
        """Moves time."""
        if self.scrape is None:
            self.server.run(lambda cluster: cluster.advance(seconds, step=max(0.2, seconds / 50)))
            return
        while seconds > 0:
            step = min(seconds, self.scrape)
            self.server.run(partial(self._scraped, step))
            seconds -= step

    def _scraped(self, seconds: float, cluster: SimulatedCluster) -> None:
        cluster.advance(seconds, step=max(0.2, seconds / 5))
        self.recorder.record()

    def verifier(self, **settings: Any) -> SourceVerifier:
        """Returns the verifier on the recorded series."""
        source = SimulatedSource("simulated", self.server, self.recorder)
        return SourceVerifier(source, VerificationSettings(**settings), clock=lambda: self.now)


@contextlib.contextmanager
def stepped_cluster(
    directory: Path, service_account: Callable[[SimulatedCluster], str], *, scrape: float | None = None
) -> Iterator[SteppedCluster]:
    """Serves a cluster, from a full hour on; its client has the rights that `service_account` makes."""
    options = ClusterOptions(metrics_api=False)
    with SimulatedServer(SimulatedCluster(ManualClock(time.time() // 3600 * 3600 - 3600), options)) as server:
        path = server.kubeconfig(directory / "kubeconfig", server.run(service_account))
        stepped = SteppedCluster(KubernetesConfig(kubeconfig=str(path)), server, scrape=scrape)
        yield stepped
        stepped.close()
