"""A local Data API that misbehaves when a test tells it to."""

from dataclasses import dataclass, field, fields

from db.local_data_api import Call, Faults, Limits


@dataclass
class Misbehaving:
    """What a test can order of it, and see."""

    url: str = ""
    limits: Limits = field(default_factory=Limits)
    faults: Faults = field(default_factory=Faults)
    calls: list[Call] = field(default_factory=list)

    def operations(self) -> list[str]:
        return [call.operation for call in self.calls]

    def behave(self) -> None:
        """As at the start."""
        self.calls.clear()
        for ours, new in ((self.limits, Limits()), (self.faults, Faults())):
            for each in fields(new):
                setattr(ours, each.name, getattr(new, each.name))
