"""`sagacity plan` and `sagacity predict`: ask a service, a bundle, or the stated priors about one run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from sagacity_api.answers import Prediction, Recommendation, answer_document
from sagacity_api.cli.document_file import read_context, read_saga_file
from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.output import put, put_json, say
from sagacity_api.cli.saga_commands import AsJson, SagaFile
from sagacity_api.counsel import Counsel
from sagacity_api.environment import read_environment
from sagacity_api.exit_codes import ExitCode
from sagacity_engine import Launch, Saga
from sagacity_engine.advisor import Context

REQUEST_ID = "command-line"
AT_MAX = 253_402_300_800.0

Facts = Annotated[
    list[str] | None,
    typer.Option("--context", metavar="KEY=VALUE", help="What is known at launch; repeatable."),
]
At = Annotated[
    float | None,
    typer.Option(min=0, max=AT_MAX, help="The launch, in seconds since the epoch. [default: now]"),
]
BundleFolder = Annotated[Path | None, typer.Option("--bundle", metavar="DIR", help="The bundle to ask.")]
RegistryFolder = Annotated[
    Path | None, typer.Option("--registry", metavar="DIR", help="Ask this registry's champion.")
]
DatasetFolder = Annotated[
    Path | None, typer.Option("--dataset", metavar="DIR", help="The history that the model looks back on.")
]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="Ask a running service instead.")]


def plan(
    file: SagaFile,
    *,
    context: Facts = None,
    at: At = None,
    bundle: BundleFolder = None,
    registry: RegistryFolder = None,
    dataset: DatasetFolder = None,
    url: Url = None,
    exact: Annotated[bool, typer.Option("--exact", help="Search longer for a proven optimum.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show the best plan for a run beside the author's, and why."""
    from sagacity_api.cli.rendering import recommendation_lines

    saga, facts, launch_at = _question(file, context, at)
    service = _service_url(url, bundle, registry, dataset)
    fixed: tuple[tuple[str, str], ...] = ()
    if service is not None:
        advice = _asked_recommendation(service, saga, facts, launch_at, exact)
    else:
        from sagacity_optimizer.graph import fixed_arcs

        fixed = fixed_arcs(saga)
        launch = Launch(run_id=REQUEST_ID, context=facts, at=launch_at)
        advice = local_counsel(bundle, registry, dataset).optimize(
            saga, launch, exact=exact, request_id=REQUEST_ID
        )
    put_json(answer_document(advice)) if as_json else put(recommendation_lines(saga, advice, fixed))
    return ExitCode.DONE


def predict(
    file: SagaFile,
    *,
    context: Facts = None,
    at: At = None,
    bundle: BundleFolder = None,
    registry: RegistryFolder = None,
    dataset: DatasetFolder = None,
    url: Url = None,
    as_json: AsJson = False,
) -> int:
    """Show how a run under the author's plan would go."""
    from sagacity_api.cli.rendering import prediction_lines

    saga, facts, launch_at = _question(file, context, at)
    service = _service_url(url, bundle, registry, dataset)
    if service is not None:
        prediction = _asked_prediction(service, saga, facts, launch_at)
    else:
        launch = Launch(run_id=REQUEST_ID, context=facts, at=launch_at)
        prediction = local_counsel(bundle, registry, dataset).predict(saga, launch, None, REQUEST_ID)
    put_json(answer_document(prediction)) if as_json else put(prediction_lines(saga, prediction))
    return ExitCode.DONE


def local_counsel(bundle: Path | None, registry: Path | None, dataset: Path | None) -> Counsel:
    """The counsel of the bundle that options or the environment name, else of the priors."""
    from sagacity_api import assembly

    folder = bundle_folder(bundle, registry)
    if folder is not None:
        return source_counsel(folder, dataset)
    say("no --bundle, --registry or --url: every step is taken to fail at the same stated prior rates")
    return assembly.prior_counsel()


def bundle_folder(bundle: Path | None, registry: Path | None) -> Path | None:
    """The bundle that options name, else the environment; None where neither does. Raises `BadInput`."""
    from sagacity_api import assembly

    if bundle is not None and registry is not None:
        raise BadInput("--bundle and --registry are both given; keep one of them")
    if bundle is None and registry is None:
        settings = read_environment()
        bundle = Path(settings.bundle) if settings.bundle else None
        registry = Path(settings.registry) if settings.registry and bundle is None else None
    if registry is None:
        return bundle
    try:
        return assembly.champion_folder(registry)
    except assembly.SourceRefused as refusal:
        raise BadInput(str(refusal)) from None


def source_counsel(folder: Path, dataset: Path | None) -> Counsel:
    """The counsel of a bundle, warmed with a dataset; raises `BadInput`."""
    from sagacity_api import assembly

    try:
        return assembly.bundle_counsel(folder, dataset)
    except assembly.SourceRefused as refusal:
        raise BadInput(str(refusal)) from None


def _question(file: str, context: list[str] | None, at: float | None) -> tuple[Saga, Context, float]:
    return read_saga_file(file), read_context(context or []), time.time() if at is None else at


def _service_url(
    url: str | None, bundle: Path | None, registry: Path | None, dataset: Path | None
) -> str | None:
    if bundle is None and registry is None and dataset is None:
        return url or read_environment().url
    if url is not None:
        raise BadInput(
            "--url asks a service, which has its own bundle; drop --bundle, --registry and --dataset"
        )
    return None


def _asked_recommendation(url: str, saga: Saga, facts: Context, at: float, exact: bool) -> Recommendation:
    from sagacity_api.client import Client, ClientError
    from sagacity_engine import check

    try:
        with Client(url) as client:
            advice = client.optimize(saga, facts, at=at, exact=exact or None)
    except ClientError as error:
        raise _told(error) from None
    if breaches := check(advice.plan, saga):
        raise CommandError(f"{url} advised an illegal plan: {'; '.join(breaches[:3])}", ExitCode.GUARDRAIL)
    return advice


def _asked_prediction(url: str, saga: Saga, facts: Context, at: float) -> Prediction:
    from sagacity_api.client import Client, ClientError

    try:
        with Client(url) as client:
            return client.predict(saga, facts, at=at)
    except ClientError as error:
        raise _told(error) from None


def _told(error: Exception) -> CommandError:
    from sagacity_api.client import ReplyRefused, ServiceFailed, ServiceTooSlow, ServiceUnreachable

    if isinstance(error, ServiceUnreachable | ServiceTooSlow):
        return CommandError(f"{error}; start it with `sagacity serve`", ExitCode.UNREACHABLE)
    if isinstance(error, ServiceFailed | ReplyRefused):
        return CommandError(str(error), ExitCode.FAILED)
    return BadInput(str(error))  # the address or the document is at fault
