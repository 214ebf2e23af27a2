"""`perfopt rbac`: prints the role that applying changes needs."""

import click


@click.command("rbac")
@click.option("--read-only", is_flag=True, help="Only what reading, previews and preflight need.")
@click.option("--name", default="perfopt-apply", show_default=True, help="Name of the ClusterRole.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="PLURAL.GROUP",
    help="Also a custom kind with a scale subresource, such as widgets.example.com; repeatable.",
)
def rbac(read_only: bool, name: str, kinds: tuple[str, ...]) -> None:
    """Prints the least ClusterRole that applying changes to Kubernetes needs, as YAML.

    Bind it to perfopt's service account in each namespace that it may change (RoleBinding), or everywhere
    (ClusterRoleBinding). Nodes and namespaces are read cluster-wide.
    """
    from perfopt_api.apply.kubernetes.access import KINDS, WorkloadKind, cluster_role
    from perfopt_api.apply.manifest import to_yaml

    pairs = [kind.partition(".") for kind in kinds]
    if wrong := next((plural for plural, _, group in pairs if not plural or not group), None):
        raise click.UsageError(f"--kind takes PLURAL.GROUP, not {wrong!r}.")
    custom = [WorkloadKind(group, "", plural, "", built_in=False) for plural, _, group in pairs]
    click.echo(to_yaml(cluster_role(name, [*KINDS, *custom], write=not read_only)), nl=False)
