"""The operations: what is asked, who answers, which problems may come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from sagacity_api.answers import answer_document
from sagacity_api.saga_reading import plan_from, saga_from
from sagacity_api.service import examples
from sagacity_api.service.bodies import (
    Health,
    ModelReply,
    OptimizeReply,
    OptimizeRequest,
    PredictReply,
    PredictRequest,
    ProblemTypeReply,
)
from sagacity_api.service.desk import CounselSlot, Desk, Limits
from sagacity_api.service.problems import BY_NAME, MEDIA_TYPE, PATH, Problem, ProblemKind, ProblemType
from sagacity_api.service.strict_route import strict_route
from sagacity_engine import Launch, Saga

Documented = dict[int | str, dict[str, Any]]
_QUESTION_PROBLEMS = (
    ProblemKind.MALFORMED_JSON,
    ProblemKind.BODY_TOO_SLOW,
    ProblemKind.BODY_TOO_LARGE,
    ProblemKind.UNSUPPORTED_MEDIA_TYPE,
    ProblemKind.MISDIRECTED,
    ProblemKind.SAGA_REFUSED,
    ProblemKind.INTERNAL,
    ProblemKind.OVERLOADED,
)


def question_routes(slot: CounselSlot, desk: Desk, limits: Limits, now: Callable[[], float]) -> APIRouter:
    """`/v1`: predict and optimize. `now` is in seconds since the epoch."""
    router = APIRouter(prefix="/v1", route_class=strict_route(limits), tags=["advice"])

    @router.post(
        "/predict",
        operation_id="predict",
        summary="How would this run go?",
        response_model=PredictReply,
        responses=_documented(_QUESTION_PROBLEMS, examples.PREDICT_REPLY),
    )
    async def predict(
        request: Request, body: Annotated[PredictRequest, Body(openapi_examples=examples.PREDICT_REQUESTS)]
    ) -> dict[str, Any]:
        """The run's chances, cost and latency under a plan, or the author's, and where it may founder."""
        counsel, request_id = slot.require(), _request_id(request)

        def answer() -> dict[str, Any]:
            saga = saga_from(body.saga)
            plan = None if body.plan is None else plan_from(body.plan)
            launch = Launch(run_id=request_id, context=body.context, at=now() if body.at is None else body.at)
            return answer_document(counsel.predict(saga, launch, plan, request_id))

        return await desk.answer(answer)

    @router.post(
        "/optimize",
        operation_id="optimize",
        summary="Which plan has the least expected cost?",
        response_model=OptimizeReply,
        responses=_documented(_QUESTION_PROBLEMS, examples.OPTIMIZE_REPLY),
    )
    async def optimize(
        request: Request, body: Annotated[OptimizeRequest, Body(openapi_examples=examples.OPTIMIZE_REQUESTS)]
    ) -> dict[str, Any]:
        """The advised plan, inside the freedoms the document grants, beside the author's by one yardstick."""
        counsel, request_id = slot.require(), _request_id(request)

        def answer() -> dict[str, Any]:
            saga: Saga = saga_from(body.saga)
            launch = Launch(
                run_id=body.run_id or request_id,
                context=body.context,
                at=now() if body.at is None else body.at,
            )
            return answer_document(counsel.optimize(saga, launch, exact=body.exact, request_id=request_id))

        return await desk.answer(answer)

    return router


def health_routes(slot: CounselSlot) -> APIRouter:
    """Is the process up, can it answer, and what do its problems mean."""
    router = APIRouter(tags=["health"])

    @router.get(
        "/livez",
        operation_id="live",
        summary="Is the process up?",
        response_model=Health,
        responses=_documented((), examples.LIVE_REPLY),
    )
    async def live() -> dict[str, Any]:
        """Always 200; looks at nothing else."""
        return {"status": "live"}

    @router.get(
        "/readyz",
        operation_id="ready",
        summary="Can questions be answered?",
        response_model=Health,
        responses=_documented((ProblemKind.NOT_READY,), examples.READY_REPLY),
    )
    async def ready() -> dict[str, Any]:
        """200 with the model once one is loaded, else 503 with the reason."""
        model = slot.require().model
        return {"status": "ready", "model": ModelReply(version=model.version, kind=model.kind)}

    @router.get(
        PATH,
        operation_id="listProblems",
        summary="Every problem type",
        response_model=list[ProblemTypeReply],
        responses=_documented((), [examples.PROBLEM_TYPE_REPLY]),
    )
    async def list_problems() -> list[dict[str, Any]]:
        """Every way in which this service says no, and the way out."""
        return [_row(row) for row in BY_NAME.values()]

    @router.get(
        PATH + "/{name}",
        operation_id="showProblem",
        summary="One problem type",
        response_model=ProblemTypeReply,
        responses=_documented((ProblemKind.NOT_FOUND,), examples.PROBLEM_TYPE_REPLY),
    )
    async def show_problem(name: str) -> dict[str, Any]:
        """What the problem means, and the way out; the `type` of every problem leads here."""
        if name not in BY_NAME:
            raise Problem(ProblemKind.NOT_FOUND, f"No problem type has this name; see {PATH}.")
        return _row(BY_NAME[name])

    return router


def _row(row: ProblemType) -> dict[str, Any]:
    return {"type": row.uri, "status": row.status, "title": row.title, "way_out": row.way_out}


def _request_id(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


def _documented(problems: tuple[ProblemKind, ...], example: object) -> Documented:
    """The responses of an operation for its OpenAPI description: the example of 200, and its problems."""
    told: Documented = {200: {"content": {"application/json": {"example": example}}}}
    for kind in problems:
        schema = {"schema": {"$ref": "#/components/schemas/ProblemBody"}}
        earlier = told.get(kind.value.status, {}).get("description")
        title = f"{earlier}; {kind.value.title}" if earlier else kind.value.title
        told[kind.value.status] = {"description": title, "content": {MEDIA_TYPE: schema}}
    return told
