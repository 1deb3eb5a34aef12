"""Faults ordered over HTTP, for drills: GET shows them, PUT orders them, DELETE makes an end of them."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db.local_data_api.faults import Fault, Faults

Rate = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]


class Order(BaseModel):
    """What is not named becomes as it was at the start: nothing."""

    model_config = ConfigDict(extra="forbid")

    latency: Seconds = 0
    resuming_seconds: Seconds = 0
    rates: dict[Fault, Rate] = {}
    operations: dict[str, dict[Fault, Rate]] = {}
    next_calls: list[Fault | None] = []


@dataclass(frozen=True)
class SideDoor:
    faults: Faults
    clock: Callable[[], float]

    async def answer(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._order(Order())
        if request.method == "PUT":
            try:
                self._order(Order.model_validate_json(await request.body()))
            except ValidationError as error:
                return JSONResponse({"message": json.loads(error.json(include_url=False, include_context=False))}, 400)
        return JSONResponse(self._shown())

    def _order(self, order: Order) -> None:
        self.faults.latency = order.latency
        self.faults.resuming_until = self.clock() + order.resuming_seconds
        self.faults.rates = order.rates
        self.faults.operations = order.operations
        self.faults.next_calls = deque(order.next_calls)

    def _shown(self) -> dict[str, Any]:
        return Order(
            latency=self.faults.latency,
            resuming_seconds=max(self.faults.resuming_until - self.clock(), 0),
            rates={Fault(kind): rate for kind, rate in self.faults.rates.items()},
            operations={
                name: {Fault(kind): rate for kind, rate in rates.items()}
                for name, rates in self.faults.operations.items()
            },
            next_calls=[Fault(each) if each else None for each in self.faults.next_calls],
        ).model_dump(mode="json")
