"""`perfopt rbac`: prints the role that applying changes needs."""

import click


@click.command("rbac")
@click.option("--read-only", is_flag=True, help="Only what reading, previews and preflight need.")
@click.option("--name", default="perfopt-apply", show_default=True, help="Name of the ClusterRole.")
def rbac(read_only: bool, name: str) -> None:
    """Prints the least ClusterRole that applying changes to Kubernetes needs, as YAML.

    Bind it to perfopt's service account in each namespace that it may change (RoleBinding), or everywhere
    (ClusterRoleBinding). Nodes and namespaces are read cluster-wide.
    """
    from perfopt_api.apply.kubernetes.access import cluster_role
    from perfopt_api.apply.manifest import to_yaml

    click.echo(to_yaml(cluster_role(name, write=not read_only)), nl=False)
