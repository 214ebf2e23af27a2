"""The section `git` of the configuration: repositories that recommended manifests are committed to."""

from typing import Annotated

import msgspec
from msgspec import Meta

from perfopt.config import Config
from perfopt.config.prometheus import resolve_secret
from perfopt.errors import InvalidInputError

SECTION = "git"
_Text = Annotated[str, Meta(min_length=1, max_length=2000)]


class GitRepository(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A repository that manifests are committed to, on a branch of their own. It needs `git` on the path.

    Attributes:
        url: as `git clone` takes it; also `env:NAME` or `file:/path`.
        branch: that the new branch begins at, and is to be merged into.
        directory: for the files; `{cluster}`, `{namespace}`, `{kind}` and `{name}` are the workload's.
        namespaces: of the workloads that belong to it; empty is all.
        files: kinds of artifacts to commit, such as `strategic_merge_patch`, `kustomize` and `helm_values`;
            empty is all that an export writes.
        token: sent over HTTPS as `Authorization: Bearer`; also `env:NAME` or `file:/path`.
        author: of commits, `Name <address>`.
        pull_request: a command that asks for the merge, run in the clone: a list of words, in which
            `{branch}`, `{base}`, `{title}` and `{body_file}` are put in. What it prints last is its address.
        timeout_seconds: for each command.
    """

    url: _Text
    branch: Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$")] = "main"
    directory: Annotated[str, Meta(pattern="^[^/].*$", max_length=500)] = "perfopt/{namespace}/{name}"
    namespaces: tuple[_Text, ...] = ()
    files: tuple[_Text, ...] = ()
    token: _Text | None = None
    author: Annotated[str, Meta(pattern="^[^<>]+ <[^<>]+>$", max_length=200)] = "perfopt <perfopt@localhost>"
    pull_request: tuple[_Text, ...] = ()
    timeout_seconds: Annotated[float, Meta(gt=0, le=600)] = 60.0


class GitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Repositories by name.

    Attributes:
        repositories: the first whose namespaces hold the workload's takes its manifests.
    """

    repositories: dict[Annotated[str, Meta(pattern="^[a-z0-9][-a-z0-9]{0,62}$")], GitRepository] = {}

    def of(self, namespace: str) -> tuple[str, GitRepository]:
        """Returns the repository for the workloads of a namespace, by name.

        Raises:
            InvalidInputError: there is none.
        """
        for name, repository in self.repositories.items():
            if not repository.namespaces or namespace in repository.namespaces:
                return name, repository
        raise InvalidInputError(
            f"No Git repository is configured for the namespace {namespace or '(unknown)'}.",
            field="git",
            remedy="Add one to the setting git.repositories.",
        )


NO_REPOSITORIES = GitSettings()


def git_settings(config: Config) -> GitSettings:
    """Returns the repositories of a configuration, what `env:` and `file:` name put in.

    Raises:
        InvalidInputError: an unknown field, a wrong value, or a secret that is not there.
    """
    settings = {}
    for name, each in config.section(SECTION, GitSettings).repositories.items():
        where = f"{SECTION}.repositories.{name}"
        token = None if each.token is None else resolve_secret(each.token, f"{where}.token")
        url = resolve_secret(each.url, f"{where}.url")
        settings[name] = msgspec.structs.replace(each, url=url, token=token)
    return GitSettings(repositories=settings)
