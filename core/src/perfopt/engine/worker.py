"""What runs in a worker process: loads the plugins, then answers one request after the other."""

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import msgspec

from perfopt.engine import messages
from perfopt.engine.assembly import assemble
from perfopt.engine.channel import MessageChannel, end_after, end_never
from perfopt.engine.checking import check_by_type
from perfopt.engine.foreign import describe
from perfopt.engine.importing import IMPORT_SECONDS, ImportNotices
from perfopt.engine.loading import load_plugins
from perfopt.engine.models import ConsultedModels, check_content
from perfopt.engine.pipeline import predict, run_strategy
from perfopt.engine.proposals import ProposalError
from perfopt.engine.registry import LoadedRegistry
from perfopt.forecast import InstalledForecasters
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.models import ModelKind
from perfopt.plugin.strategy import Strategy
from perfopt.rules import RuleBook, default_book


def main() -> None:
    """Runs until the parent closes the connection."""
    channel = MessageChannel()
    warnings.simplefilter("ignore")  # they would go to the terminal of a user who can do nothing about them
    setup = messages.decode_request(channel.receive())
    assert isinstance(setup, messages.SetupRequest)
    loaded = load_plugins(setup.disabled, setup.only)
    channel.send(messages.encode(loaded.plain))
    worker = _Worker.of(setup, loaded)
    notices = ImportNotices(channel.send)
    notices.install()
    subject = b""
    while True:
        request = messages.decode_request(channel.receive())
        if isinstance(request, messages.SubjectRequest):
            subject = request.context
        elif isinstance(request, messages.SetupRequest):  # the plugins stay, all else is new
            worker = _Worker.of(request, loaded)
            channel.send(messages.encode(loaded.plain))
        elif isinstance(request, messages.CheckSettings):
            channel.send(messages.encode(check_by_type(loaded.settings[request.plugin], request)))
        else:
            end_after(request.deadline_seconds + IMPORT_SECONDS)
            notices.watch(on=True)
            answer = worker.answer(request, subject)
            notices.watch(on=False)
            end_never()
            channel.send(answer)


@dataclass(frozen=True)
class _Worker:
    """The plugins, and what this process was set up with."""

    loaded: LoadedRegistry
    setup: messages.SetupRequest
    book: RuleBook
    forecasters: InstalledForecasters

    @classmethod
    def of(cls, setup: messages.SetupRequest, loaded: LoadedRegistry) -> Self:
        """Reads the rules, and chooses among the forecasters."""
        book = default_book() if setup.rules is None else RuleBook(setup.rules)
        chosen = InstalledForecasters(loaded.forecasters, setup.forecasters, setup.forecasters_weighted)
        return cls(loaded, setup, book, chosen)

    def answer(
        self, request: messages.RunRequest | messages.MergeRequest | messages.CheckModel, subject: bytes
    ) -> bytes:
        """Answers a request that has a deadline."""
        if isinstance(request, messages.RunRequest):
            return _run(request, subject, self.loaded.instances, self.setup, self.book, self.forecasters)
        if isinstance(request, messages.CheckModel):
            return _checked(request, self.loaded.kinds)
        return _merge(request, subject, self.book)


def _run(
    request: messages.RunRequest,
    subject: bytes,
    strategies: Mapping[str, Strategy],
    setup: messages.SetupRequest,
    book: RuleBook,
    forecasters: InstalledForecasters,
) -> bytes:
    # Unpickled anew each time, so that no strategy sees what another did to its input.
    context: AnalysisContext = pickle.loads(subject)  # noqa: S301  from the parent
    given = ConsultedModels(setup.models)
    context = replace(context, models=given)
    key = request.key
    if key is None:
        return messages.encode(predict(context, forecasters))
    context = replace(context, settings=setup.settings.get(key.partition("/")[0], {}))
    try:
        rules = book.rules_for(context.snapshot.workload)
        outcome = run_strategy(strategies[key], context, rules, forecasters, backtested=request.backtested)
        return messages.encode(msgspec.structs.replace(outcome, models=tuple(sorted(given.consulted))))
    except ProposalError as error:
        return messages.encode(messages.StrategyOutcome(status="failed", error=str(error)))
    except BaseException as error:  # foreign code may raise anything, SystemExit and MemoryError too
        return messages.encode(messages.StrategyOutcome(status="failed", error=describe(error)))


def _checked(request: messages.CheckModel, kinds: Mapping[str, ModelKind]) -> bytes:
    try:
        return messages.encode(check_content(request, kinds))
    except TypeError as error:  # a card is what a plugin made
        return messages.encode(messages.CheckedModel(error=f"Its card can't be read: {error}."))


def _merge(request: messages.MergeRequest, subject: bytes, book: RuleBook) -> bytes:
    context: AnalysisContext = pickle.loads(subject)  # noqa: S301  from the parent
    try:
        result = assemble(
            context,
            request.types,
            request.infos,
            request.answers,
            request.warnings,
            request.no_strategy,
            book.rules_for(context.snapshot.workload),
            request.plan_record,
            by_itself=request.by_itself,
        )
        return messages.encode(messages.MergeAnswer(result=result))
    except Exception as error:
        return messages.encode(messages.MergeAnswer(error=describe(error)))
