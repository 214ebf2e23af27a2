from perfopt.config.loading import load_config
from perfopt_api.apply.cluster import WorkloadTarget
from perfopt_api.apply.executor import can_apply, kubernetes_of, open_cluster


async def test_cluster_is_that_of_the_metric_source(shop, tmp_path):
    kubeconfig = shop.server.kubeconfig(tmp_path / "admin")
    file = tmp_path / "perfopt.yaml"
    source = f"{{type: prometheus, url: 'http://127.0.0.1:9', kubernetes: {{kubeconfig: '{kubeconfig}'}}}}"
    file.write_text(f"sources: {{main: {source}}}\n")
    config = load_config(file, {})
    assert kubernetes_of(config).kubeconfig == str(kubeconfig)
    target = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="shop", name="checkout")
    async with open_cluster(config) as cluster:
        assert (await cluster.read(target)).fields["replicas"] == 2


def test_without_one_the_service_account_is_used(tmp_path):
    file = tmp_path / "perfopt.yaml"
    file.write_text("{}\n")
    config = load_config(file, {})
    assert kubernetes_of(config).kubeconfig is None
    assert not can_apply(config)
