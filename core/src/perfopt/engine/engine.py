"""The engine: a snapshot goes in, an analysis comes out."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Self

import msgspec

from perfopt.config.loading import Config
from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import AnalysisResult, AnalysisWarning, Declined
from perfopt.domain.record import StrategyRecord
from perfopt.domain.workload import Workload
from perfopt.engine.abstention import abstentions, confident_enough, lowered_quantities, not_refuted
from perfopt.engine.afterwards import for_the_plan, with_limits_of, with_stale_knobs
from perfopt.engine.allowlist import left_out
from perfopt.engine.breaker import PluginCircuitBreaker
from perfopt.engine.child import ChildProcess
from perfopt.engine.configure import configure
from perfopt.engine.hours import book_of_hours
from perfopt.engine.isolation import StrategyPool
from perfopt.engine.messages import CheckedModel, MergeRequest, StrategyAnswers, StrategyOutcome
from perfopt.engine.models import read_model_file, wanted_kinds
from perfopt.engine.notices import config_warnings, not_loaded, snapshot_warnings
from perfopt.engine.pickled import OpenedEngine, OpenEngine, decode_engine, encode_engine
from perfopt.engine.probe import probe_with_worker
from perfopt.engine.records import PLAN
from perfopt.engine.registry import PluginRegistry, PluginStatus, StrategyInfo
from perfopt.engine.sessions import sessions_of
from perfopt.errors import InvalidInputError
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.rules import RuleBook, RuleSet, RuleSources

# Read for every type: replays score use, from the state that was recorded at the time.
BASE_METRICS = frozenset(
    {
        "cpu_cores",
        "memory_bytes",
        "cpu_request_cores",
        "memory_request_bytes",
        "cpu_limit_cores",
        "memory_limit_bytes",
        "replicas",
    }
)


class Engine:
    """Analyses workloads with the strategies of the installed plugins. Thread-safe; use it as a context.

    Args:
        registry: what is installed, from `probe_plugins`.
        config: limits of the worker processes, price books, settings of plugins, and rule packs, which are
            read here.
        breaker: sets plugins aside that fail in a row.
        worker: the process that loaded the registry's plugins, from `probe_with_worker`.

    Attributes:
        settings: of the plugins, effective.

    Raises:
        InvalidInputError: a setting of a plugin, a model or a rule pack is wrong.
    """

    def __init__(
        self,
        registry: PluginRegistry,
        config: Config | None = None,
        breaker: PluginCircuitBreaker | None = None,
        worker: ChildProcess | None = None,
    ) -> None:
        self.registry = registry
        self._config = config if config is not None else Config()
        self._breaker = breaker if breaker is not None else PluginCircuitBreaker()
        limits = self._config.engine
        self.settings = configure(registry, self._config)
        self._records: Mapping[str, StrategyRecord] = {}
        self.processes = limits.processes or cores()
        rules = RuleSources.read(self._config.rules, registry.pack_files)
        self._rules = RuleBook(rules)
        self._pool = StrategyPool(
            registry,
            self.processes,
            limits.deadline_seconds,
            limits.memory_limit_mib,
            {},
            rules,
            self.settings.values,
            limits.chosen_forecasters(),
            forecasters_weighted=limits.forecast_weighting == "rolling_origins",
            first=worker,
        )
        self._configured = self._checked_models()
        self._models = self._configured
        self._pool.use(self._models)

    @classmethod
    def open(cls, config: Config | None = None) -> "Engine":
        """Finds the installed plugins and returns an engine that runs them."""
        config = config if config is not None else Config()
        registry, worker = probe_with_worker(left_out(config.engine))
        try:
            return cls(registry, config, worker=worker)
        except BaseException:
            if worker is not None:
                worker.kill()
            raise

    def _checked_models(self) -> dict[str, bytes]:
        """Returns the models that settings and `--model` name; checked here, where the user is told."""
        models = {kind: file.content for kind, file in self.settings.models.items()}
        for kind, file in self.settings.models.items():
            self._checked(file.path, file.content, kind)
        if self._config.model is not None:
            content = read_model_file(Path(self._config.model))
            models[self._checked(self._config.model, content, None)] = content
        return models

    def _checked(self, path: str, content: bytes, kind: str | None) -> str:
        try:
            return self.check_model(content, kind).kind
        except InvalidInputError as error:
            self._pool.close()
            raise InvalidInputError(f"{path}: {error.message}", field="model", remedy=error.remedy) from error

    def use_models(self, models: Mapping[str, bytes]) -> None:
        """Has strategies use models from now on, each in place of the configured one of its kind.

        Args:
            models: kind to content; empty goes back to what is configured.

        Raises:
            InvalidInputError: an unknown kind, or content that can't be used; nothing is changed then.
        """
        for kind, content in models.items():
            self.check_model(content, kind)
        self._models = {**self._configured, **models}
        self._pool.use(self._models)

    def check_model(self, content: bytes, kind: str | None = None) -> CheckedModel:
        """Returns the kind and the card of a model's content, which may be anything; blocks.

        Args:
            content: of a file; it is read in a worker process, which may hang or crash over it.
            kind: that it must be of; None is the first that accepts it, in order of their names.

        Raises:
            InvalidInputError: there is no such kind, or the content is no model of it.
        """
        installed = [one.kind for one in self.registry.models]
        checked = self._pool.check_model(content, wanted_kinds(kind, installed))
        if checked.error is not None:
            raise InvalidInputError(checked.error, field="model", remedy=checked.remedy)
        return checked

    def use_records(self, records: Mapping[str, StrategyRecord]) -> None:
        """Has confidence follow recorded outcomes from now on.

        Args:
            records: strategy key, or "plan", to its record, from `perfopt.engine.records`.
        """
        self._records = dict(records)

    def metrics(self, types: Sequence[OptimizationType]) -> frozenset[str]:
        """Returns the names of the metrics that an analysis of these types reads."""
        infos = self.registry.of_types(types)
        if infos:
            infos += tuple(info for info in self.registry.strategies if info.holds)
        declared = (names for info in infos for names in (info.metrics, info.forecasts))
        return BASE_METRICS.union(self._rules.metrics, *declared)

    def analyze(
        self,
        snapshot: WorkloadSnapshot,
        types: Sequence[OptimizationType],
        validity: timedelta,
        include_predictions: bool = False,
        only: str | None = None,
        *,
        backtested: bool = True,
    ) -> AnalysisResult:
        """Analyses one workload; blocks. The same input gives the same result.

        Args:
            snapshot: the history; nothing after its end is known.
            types: asked for; each gives recommendations, or is declined with a reason.
            validity: how long recommendations must hold.
            include_predictions: put the forecasts of use on each recommendation.
            only: key of the one strategy to ask, so that it is judged by itself; None is all.
            backtested: without, recommendations have no backtest on the workload's own history, and their
                confidence is the strategy's prior.

        Raises:
            EngineClosedError: the engine was closed before or meanwhile.
        """
        context, warnings = self.context(snapshot, validity)
        infos = [info for info in self.registry.of_types(types) if only in (None, info.key)]
        answers = self._run(context, infos, include_predictions, backtested=backtested)
        infos, answers = self._with_abstentions(context, infos, answers)

        def merged(given: StrategyAnswers) -> AnalysisResult:
            request = MergeRequest(
                tuple(types),
                tuple(infos),
                given,
                tuple(warnings),
                self._no_strategy(),
                self._records.get(PLAN),
                by_itself=only is not None,
                deadline_seconds=self._config.engine.deadline_seconds,
            )
            return self._merged(context, request)

        return self._with_knobs_for_the_plan(merged, context, infos, answers)

    def _merged(self, context: AnalysisContext, request: MergeRequest) -> AnalysisResult:
        """Merges in a worker process, where a hang or a crash costs this analysis only."""
        answer = self._pool.merge(context, request)
        if answer.result is not None:
            return answer.result
        workload, reason = context.snapshot.workload, f"Merging the proposals {answer.error}."
        declined = tuple(
            Declined(optimization_type=kind, code=DeclineCode.STRATEGY_FAILED, reason=reason)
            for kind in request.types
        )
        warning = AnalysisWarning(code="merge_failed", message=reason)
        return AnalysisResult(
            service_name=workload.service_name,
            workload=str(workload.id),
            recommendations=(),
            declined=declined,
            warnings=(*request.warnings, warning),
        )

    def context(
        self, snapshot: WorkloadSnapshot, validity: timedelta
    ) -> tuple[AnalysisContext, list[AnalysisWarning]]:
        """Returns what every strategy of an analysis is given, and what a user should know of it.

        Models and forecasts are added where a strategy runs: `models`, and `pipeline.with_forecasts`.
        """
        workload = snapshot.workload
        book = self._config.book_for(workload.price_book, snapshot.price_book)
        priced = book_of_hours(book, snapshot)
        exchange = workload.exchange
        exchanges = (*self.rules_for(workload).exchanges, *(() if exchange is None else (exchange,)))
        sessions, unknown = sessions_of(
            dict.fromkeys(exchanges), snapshot.grid.start, snapshot.grid.end + validity
        )
        penalties = self._config.engine.penalties
        context = AnalysisContext(
            snapshot, validity, priced, sessions=sessions, under_provisioning_penalties=penalties
        )
        warnings = [*snapshot_warnings(snapshot), *self.settings.warnings]
        warnings += [*config_warnings(self._config, workload, book), *self._rules.warnings_for(workload)]
        warnings += [*unknown, *not_loaded(self.registry)]
        return context, warnings

    @property
    def models(self) -> Mapping[str, bytes]:
        """The configured models: kind to content."""
        return self._configured

    def rules_for(self, workload: Workload) -> RuleSet:
        """Returns the rules that proposals for a workload pass."""
        return self._rules.rules_for(workload)

    def _with_knobs_for_the_plan(
        self,
        merged: Callable[[StrategyAnswers], AnalysisResult],
        context: AnalysisContext,
        infos: Sequence[StrategyInfo],
        answers: StrategyAnswers,
    ) -> AnalysisResult:
        """Asks once more for knobs that were computed for limits which the plan moves."""
        result = merged(answers)
        stale = with_stale_knobs(result)
        if result.plan is None or not stale:
            return result
        planned = with_limits_of(result.plan, context)
        again = dict(zip(stale, self._pool.run(planned, stale).outcomes, strict=True))
        now, then = context.snapshot.workload.state, planned.snapshot.workload.state
        second = [again.get(info.key) for info in infos]
        return merged(replace(answers, outcomes=for_the_plan(answers.outcomes, second, now, then)))

    def _with_abstentions(
        self, context: AnalysisContext, infos: list[StrategyInfo], answers: StrategyAnswers
    ) -> tuple[list[StrategyInfo], StrategyAnswers]:
        """Adds the abstentions of strategies that were not asked and hold what a proposal would lower.

        So a type asked alone sizes nothing for which the type that sizes it lacks the evidence.
        """
        lowered = lowered_quantities(answers.outcomes, context.snapshot.workload.state)
        requested = {info.optimization_type for info in infos if info.holds}
        others = [
            info
            for info in self.registry.strategies
            if lowered & {*info.holds} and info.optimization_type not in requested
        ]
        if not others:
            return infos, answers
        given = self._run(context, others, include_predictions=False, backtested=False)
        abstained = abstentions(list(zip(others, given.outcomes, strict=True)))
        return (
            [*infos, *(info for info, _ in abstained)],
            replace(answers, outcomes=(*answers.outcomes, *(outcome for _, outcome in abstained))),
        )

    def _run(
        self,
        context: AnalysisContext,
        infos: Sequence[StrategyInfo],
        include_predictions: bool,
        *,
        backtested: bool = True,
    ) -> StrategyAnswers:
        """Runs the strategies that are not set aside, and fills in what is said of those that are."""
        running = [info for info in infos if self._breaker.allows((info.plugin, info.version))]
        if not running and not include_predictions:
            given = StrategyAnswers(())
        else:
            given = self._pool.run(
                context,
                [info.key for info in running],
                predictions=include_predictions,
                backtested=backtested,
            )
        outcomes = dict(zip((info.key for info in running), given.outcomes, strict=True))
        for info in running:
            failed = outcomes[info.key].status not in ("ok", "declined")
            self._breaker.record((info.plugin, info.version), failed=failed)
        ordered = tuple(outcomes.get(info.key, _SET_ASIDE) for info in infos)
        records = self._records
        recorded = [_with_record(info, one, records) for info, one in zip(infos, ordered, strict=True)]
        minimum = self._config.engine.minimum_confidence if backtested else 0.0
        enough = (
            confident_enough(info, not_refuted(info, one, context), minimum, context.validity)
            for info, one in zip(infos, recorded, strict=True)
        )
        return replace(given, outcomes=tuple(enough))

    def _no_strategy(self) -> str:
        absent = [
            f"{info.name} ({info.status})"
            for info in self.registry.plugins
            if info.status is not PluginStatus.LOADED
        ]
        hint = "Install one that does with pip; `perfopt plugin list` shows what is there."
        return f"{hint} Not taking part: {', '.join(absent)}." if absent else hint

    def __reduce__(self) -> tuple[Callable[[OpenEngine, bytes], OpenedEngine], tuple[OpenEngine, bytes]]:
        """Pickles as what another process opens an engine of its own from."""
        encoded = encode_engine(self.registry, self._config, self._models, self._records)
        return decode_engine, (Engine, encoded)

    def close(self) -> None:
        """Ends the worker processes."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def cores() -> int:
    """Returns how many cores this process may use; not every system says."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with_record(
    info: StrategyInfo, outcome: StrategyOutcome, records: Mapping[str, StrategyRecord]
) -> StrategyOutcome:
    """Puts the strategy's record of outcomes into the prior of its proposal."""
    if outcome.proposal is None:
        return outcome
    prior = outcome.proposal.prior or info.prior
    known = msgspec.structs.replace(prior, record=records.get(info.key))
    return msgspec.structs.replace(outcome, proposal=msgspec.structs.replace(outcome.proposal, prior=known))


_SET_ASIDE = StrategyOutcome(
    status="set_aside", error="is set aside for a while after failing several times in a row"
)
