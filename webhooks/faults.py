"""What is wrong with the settings."""

from collections.abc import Iterable


class SettingsError(ValueError):
    """Every fault, and what to write instead."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(["The settings cannot be used:", *(f"  - {fault}" for fault in self.faults)]))
