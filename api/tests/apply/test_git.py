"""Manifests on branches of real Git repositories: commits, pull requests, repetition, failures."""

import subprocess
from pathlib import Path

import pytest
from apply_driver import ApplyRun, change_of, order_of
from memory_cluster import MemoryCluster

from perfopt.domain.enums import OptimizationStatus
from perfopt.errors import ConflictError, InvalidInputError
from perfopt_api.apply.export import export
from perfopt_api.apply.git import GitError, commit_manifests, git_order
from perfopt_api.policy.git import GitRepository, GitSettings


def git(*words, cwd):
    done = subprocess.run(["git", *words], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path):
    """A bare repository with one commit on main."""
    bare, work = tmp_path / "origin.git", tmp_path / "first"
    git("init", "-q", "--bare", "-b", "main", str(bare), cwd=tmp_path)
    git("clone", "-q", str(bare), str(work), cwd=tmp_path)
    (work / "README").write_text("deployments\n")
    git("add", ".", cwd=work)
    git("-c", "user.name=ann", "-c", "user.email=ann@example", "commit", "-qm", "Begin", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    return bare


def repositories(origin, **fields):
    return GitSettings(repositories={"deploy": GitRepository(url=str(origin), **fields)})


@pytest.fixture
def made(make):
    return make(workload="trading/deployment/order-router")


def ordered(made, settings):
    order = git_order(made, export(made), settings)
    return order, settings.repositories[order.repository]


async def test_an_export_is_a_commit_on_a_branch_with_the_evidence(origin, made):
    order, repository = ordered(made, repositories(origin, author="perfopt <bot@example>"))
    commit = await commit_manifests(repository, order, "No harm in 30 min.")
    assert commit.branch == f"perfopt/trading-deployment-order-router-{made.recommendation_id}"
    assert git("rev-parse", commit.branch, cwd=origin) == commit.commit
    assert git("rev-parse", f"{commit.branch}^", cwd=origin) == git("rev-parse", "main", cwd=origin)
    message = git("log", "-1", "--format=%an <%ae>%n%B", commit.branch, cwd=origin)
    assert message.startswith(f"perfopt <bot@example>\nApply {made.recommendation_id} to trading/")
    assert made.description in message
    assert "Confidence 0." in message
    assert message.endswith("No harm in 30 min.")
    assert all(Path(name).parent == Path("perfopt/trading/order-router") for name in commit.files)
    shown = git("show", f"{commit.branch}:perfopt/trading/order-router/kustomization.yaml", cwd=origin)
    by_kind = {each["kind"]: each["content"] for each in export(made)}
    assert shown == by_kind["kustomize"].strip()
    assert git("show", f"{commit.branch}:README", cwd=origin) == "deployments"


def test_the_message_links_to_the_evidence_where_the_address_is_known(origin, made):
    settings, artifacts = repositories(origin), export(made)
    link = "https://perfopt.example/api/v1/optimization/recommendations/opt_1"
    assert git_order(made, artifacts, settings, link).body.endswith(f"\n\nDetails: {link}")
    assert "Details:" not in git_order(made, artifacts, settings).body


async def test_only_the_files_and_the_directory_that_are_configured_are_written(origin, made):
    settings = repositories(origin, files=("helm_values",), directory="charts/{namespace}/{kind}-{name}")
    commit = await commit_manifests(*reversed(ordered(made, settings)))
    assert commit.files == ("charts/trading/deployment-order-router/order-router-values.yaml",)
    with pytest.raises(ConflictError, match="none of the files to commit"):
        ordered(made, repositories(origin, files=("other",)))


async def test_done_twice_it_is_one_commit(origin, made):
    order, repository = ordered(made, repositories(origin))
    first = await commit_manifests(repository, order)
    again = await commit_manifests(repository, order)
    assert again.commit == first.commit
    assert git("rev-list", "--count", first.branch, cwd=origin) == "2"


async def test_manifests_that_are_merged_already_need_no_branch(origin, made):
    order, repository = ordered(made, repositories(origin))
    commit = await commit_manifests(repository, order)
    git("update-ref", "refs/heads/main", commit.commit, cwd=origin)
    git("update-ref", "-d", f"refs/heads/{commit.branch}", cwd=origin)
    again = await commit_manifests(repository, order)
    assert again.branch == ""
    assert "holds the manifests already" in again.sentence


async def test_the_pull_request_is_asked_for_by_the_configured_command(origin, made, tmp_path):
    script = tmp_path / "ask"
    script.write_text('#!/bin/sh\necho asking\necho "https://git.example/pr/7 $1 $2 $3"\ncat "$4" >&2\n')
    script.chmod(0o755)
    words = (str(script), "{branch}", "{base}", "{title}", "{body_file}")
    commit = await commit_manifests(*reversed(ordered(made, repositories(origin, pull_request=words))))
    assert commit.pull_request.startswith(f"https://git.example/pr/7 {commit.branch} main Apply opt_")
    assert f"Pull request: {commit.pull_request}" in commit.sentence


async def test_commands_get_credentials_of_git_only(origin, made, monkeypatch):
    monkeypatch.setenv("GH_TOKEN", "of-git")
    monkeypatch.setenv("PERFOPT_SERVICE__DATABASE_URL", "canary")
    monkeypatch.setenv("PROMETHEUS_TOKEN", "canary")
    words = ("sh", "-c", "env | tr '\\n' ' '")
    commit = await commit_manifests(*reversed(ordered(made, repositories(origin, pull_request=words))))
    assert "GH_TOKEN=of-git" in commit.pull_request
    assert "canary" not in commit.pull_request


async def test_what_git_says_is_shown_without_the_secret(tmp_path, made):
    url = f"file://user:s3cret@{tmp_path}/nowhere.git"
    order, repository = ordered(made, repositories(url, token="t0ken"))
    with pytest.raises(GitError) as caught:
        await commit_manifests(repository, order)
    assert "git ls-remote failed" in caught.value.message
    assert "s3cret" not in caught.value.message
    assert "t0ken" not in caught.value.message


async def test_a_command_that_hangs_is_ended(origin, made):
    settings = repositories(origin, pull_request=("sleep", "60"), timeout_seconds=2)
    with pytest.raises(GitError, match=r"sleep 60 took over 2 s"):
        await commit_manifests(*reversed(ordered(made, settings)))


async def test_a_directory_outside_of_the_repository_is_refused(origin, made):
    with pytest.raises(GitError, match="outside of the repository"):
        await commit_manifests(*reversed(ordered(made, repositories(origin, directory="../../{name}"))))


def test_a_namespace_without_a_repository_is_named(origin, made):
    with pytest.raises(InvalidInputError, match="namespace trading"):
        git_order(made, export(made), repositories(origin, namespaces=("risk",)))


async def test_a_verified_change_is_committed_before_it_counts_as_applied(origin, made):
    cluster, settings = MemoryCluster(), repositories(origin)
    change = change_of(cluster.add(), durability="transient")
    run = ApplyRun(cluster, order_of(change, git=ordered(made, settings)[0]), git=settings)
    assert await run.finish() is OptimizationStatus.APPLIED
    assert run.codes[-1] == "committed"
    branch = f"perfopt/trading-deployment-order-router-{made.recommendation_id}"
    assert "It is passed." in git("log", "-1", "--format=%B", branch, cwd=origin)


async def test_a_change_that_cannot_be_committed_is_taken_back(tmp_path, made):
    cluster, settings = MemoryCluster(), repositories(tmp_path / "nowhere.git")
    target = cluster.add()
    order = order_of(change_of(target, durability="transient"), git=ordered(made, settings)[0])
    run = ApplyRun(cluster, order, git=settings)
    assert await run.finish() is OptimizationStatus.ROLLED_BACK
    assert run.now_at.failure.code == "git_failed"
    assert {pod.wanted["app"].cpu_request for pod in cluster.workloads[target.key].pods} == {"1"}
