"""Commits manifests on a branch of a repository, with the evidence, and asks for a pull request."""

import asyncio
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.engine.environment import child_environment
from perfopt.errors import ConflictError, UnavailableError
from perfopt_api.apply.target import object_of
from perfopt_api.policy.git import GitRepository, GitSettings

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_PASSED = "GIT_.*|SSH_.*|GH_.*|GITHUB_.*|GITLAB_.*|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy|SSL_CERT_.*"
"""Of our variables, for git and the command of pull requests."""
_SUBJECT = 72
_SHOWN = 500  # characters of what a command printed


class GitError(UnavailableError):
    """Git did not do what it was asked for. HTTP 503."""

    code = "git_failed"


class GitOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to commit, fixed when it is asked for.

    Attributes:
        repository: its name in the configuration.
        branch: the new branch.
        title, body: of the commit and the pull request.
        files: path in the repository to content.
    """

    repository: str
    branch: str
    title: str
    body: str
    files: dict[str, str]


class GitCommit(msgspec.Struct, frozen=True, kw_only=True):
    """A commit that holds manifests.

    Attributes:
        repository: its name in the configuration.
        branch: that it is on; empty where the base branch holds the manifests already.
        commit: its hash.
        files: paths in the repository.
        pull_request: what the configured command printed last; empty where none was run.
    """

    repository: str
    branch: str
    commit: str
    files: tuple[str, ...] = ()
    pull_request: str = ""

    def artifact(self) -> dict[str, Any]:
        """Returns it as an artifact of a job."""
        return {"kind": "git_commit", **msgspec.to_builtins(self)}

    @property
    def sentence(self) -> str:
        """What was done, in one sentence."""
        if not self.branch:
            return f"{self.repository} holds the manifests already ({self.commit[:12]})."
        link = f" Pull request: {self.pull_request}" if self.pull_request else ""
        return f"Committed {self.commit[:12]} on {self.branch} of {self.repository}.{link}"


def git_order(
    recommendation: OptimizationRecommendation,
    artifacts: Sequence[Mapping[str, Any]],
    settings: GitSettings,
    details_url: str | None = None,
) -> GitOrder:
    """Returns what is committed of an export.

    Args:
        recommendation: the recommendation.
        artifacts: of its export.
        settings: the repositories.
        details_url: where the evidence is shown, for the message.

    Raises:
        InvalidInputError: no repository is configured for its namespace.
        ConflictError: the export has none of the files to commit.
    """
    target, scope = object_of(recommendation), recommendation.workload.split("/")
    name, repository = settings.of(target.namespace)
    chosen = [
        each
        for each in artifacts
        if each.get("content") is not None and (not repository.files or each["kind"] in repository.files)
    ]
    if not chosen:
        kinds = ", ".join(sorted({str(each["kind"]) for each in artifacts}))
        raise ConflictError(
            f"The export of {recommendation.recommendation_id} has none of the files to commit:"
            f" it has {kinds}.",
            remedy="Correct the setting git.repositories.NAME.files.",
        )
    values = {
        "cluster": "/".join(scope[:-3]),
        "namespace": target.namespace,
        "kind": target.kind.lower(),
        "name": target.name,
    }
    directory = PurePosixPath(_filled(repository.directory, values))
    title, body = _message(recommendation)
    if details_url is not None:
        body += f"\n\nDetails: {details_url}"
    return GitOrder(
        repository=name,
        branch=f"perfopt/{_UNSAFE.sub('-', recommendation.workload)}-{recommendation.recommendation_id}",
        title=title,
        body=body,
        files={str(directory / Path(each["filename"]).name): str(each["content"]) for each in chosen},
    )


def _message(recommendation: OptimizationRecommendation) -> tuple[str, str]:
    """Returns subject and body of the commit: what changes, and why it may."""
    workload, claim = "/".join(recommendation.workload.split("/")[-3:]), recommendation.expected_improvement
    facts = [f"Confidence {claim.confidence:.2f}"]
    if claim.cost_reduction_percent is not None:
        facts.append(f"cost {-claim.cost_reduction_percent:+.1f} %")
    facts += [
        f"valid until {recommendation.valid_until:%Y-%m-%d}",
        f"by {recommendation.plugin} {recommendation.plugin_version or ''}".strip(),
    ]
    reasons = [f"- {reason.text}" for reason in recommendation.reasons]
    subject = f"Apply {recommendation.recommendation_id} to {workload}"[:_SUBJECT]
    return subject, "\n".join((recommendation.description, "", "; ".join(facts), "", *reasons))


async def commit_manifests(repository: GitRepository, order: GitOrder, evidence: str = "") -> GitCommit:
    """Commits on the order's branch and pushes it; done twice it is done once.

    Args:
        repository: where to.
        order: what.
        evidence: further text of the message: what a verification showed.

    Raises:
        GitError: a command failed, or took too long.
    """
    body = "\n\n".join(part for part in (order.body, evidence) if part)
    with tempfile.TemporaryDirectory(prefix="perfopt-git-") as scratch:
        clone = _Clone(repository, Path(scratch))
        head = f"refs/heads/{order.branch}"
        existing = await clone.git("ls-remote", "--", repository.url, head, cwd=clone.root)
        base = order.branch if existing else repository.branch
        await clone.git(
            "clone", "-q", "--depth=1", f"--branch={base}", "--", repository.url, "work", cwd=clone.root
        )
        if not existing:
            await clone.git("checkout", "-q", "-b", order.branch)
            if not await _written(clone, order, body):
                return await _result(clone, order, branch="")
            await clone.git("push", "-q", "origin", order.branch)
        pull_request = await clone.pull_request(order, body)  # again where a crash came before it
        return await _result(clone, order, branch=order.branch, pull_request=pull_request)


async def _written(clone: "_Clone", order: GitOrder, body: str) -> bool:
    """Commits the files; returns whether they differ from what is there."""
    for name, content in order.files.items():
        path = clone.work / name
        if not path.resolve().is_relative_to(clone.work.resolve()):
            raise GitError(
                f"{name} is outside of the repository.", remedy="Correct the directory of the setting."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    await clone.git("add", "--", *order.files)
    if not await clone.git("status", "--porcelain"):
        return False
    message = clone.root / "message"
    message.write_text(f"{order.title}\n\n{body}\n", encoding="utf-8")
    await clone.git("commit", "-q", "--cleanup=whitespace", "-F", str(message))
    return True


async def _result(clone: "_Clone", order: GitOrder, *, branch: str, pull_request: str = "") -> GitCommit:
    commit = (await clone.git("rev-parse", "HEAD")).strip()
    return GitCommit(
        repository=order.repository,
        branch=branch,
        commit=commit,
        files=tuple(order.files),
        pull_request=pull_request,
    )


def _filled(text: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", value)
    return text


class _Clone:
    """A clone in a scratch directory, and the commands run in it."""

    def __init__(self, repository: GitRepository, root: Path) -> None:
        self._repository = repository
        self.root = root
        self.work = root / "work"

    async def git(self, *arguments: str, cwd: Path | None = None) -> str:
        """Runs git; returns what it printed."""
        return await self._run(("git", *arguments), cwd or self.work)

    async def pull_request(self, order: GitOrder, body: str) -> str:
        """Runs the configured command; returns the last line that it printed."""
        if not self._repository.pull_request:
            return ""
        file = self.root / "body"
        file.write_text(body, encoding="utf-8")
        values = {
            "branch": order.branch,
            "base": self._repository.branch,
            "title": order.title,
            "body_file": str(file),
        }
        words = [_filled(word, values) for word in self._repository.pull_request]
        printed = (await self._run(words, self.work)).strip().splitlines()
        return printed[-1] if printed else ""

    async def _run(self, words: Sequence[str], cwd: Path) -> str:
        what = " ".join(words[:2])
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=cwd,
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise GitError(
                f"{words[0]} cannot be run: {error.strerror}.", remedy="Install it where perfopt runs."
            ) from error
        try:
            async with asyncio.timeout(self._repository.timeout_seconds):
                out, err = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            seconds = self._repository.timeout_seconds
            raise GitError(f"{what} took over {seconds:g} s.", remedy="Look at the Git server.") from error
        if process.returncode:
            message = self._concealed(" ".join(err.decode(errors="replace").split()))[:_SHOWN]
            raise GitError(
                f"{what} failed with status {process.returncode}: {message}",
                remedy="Look at the setting git.repositories.",
            )
        return out.decode(errors="replace")

    def _concealed(self, text: str) -> str:
        token = self._repository.token
        text = text if token is None else text.replace(token, "***")
        return re.sub(r"(?<=://)[^/@\s]*@", "***@", text)

    def _environment(self) -> dict[str, str]:
        """Returns the environment of commands: no prompts, our author, and the token out of sight."""
        name, _, address = self._repository.author.rstrip(">").rpartition(" <")
        who = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", name), ("EMAIL", address))
        }
        settings = {"GIT_TERMINAL_PROMPT": "0"}
        if self._repository.token is not None:
            settings |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "http.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: Bearer {self._repository.token}",
            }
        return child_environment(_PASSED) | who | settings
