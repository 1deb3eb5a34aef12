"""The ten-line model of consent: what the ledger and the preferences must say after a set of events, whatever their order."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from providers.adapter import Batch

Ledger = dict[tuple[str, str], tuple[datetime, bool]]


def ledger_after(batches: Iterable[Batch]) -> Ledger:
    """(address, topic) → (decided at, opted in)."""
    ledger: Ledger = {}
    for decision in (decision for batch in batches for decision in batch.decisions):
        key = (decision.email_address.strip().lower(), decision.topic)
        said = (decision.decided_at, decision.opted_in)
        # The newest; of two as new the opt-out, for False comes first.
        ledger[key] = max(ledger.get(key, said), said, key=lambda each: (each[0], not each[1]))
    return ledger


def preferences_after(before: Mapping[str, bool], ledger: Ledger) -> dict[str, bool]:
    """Address as it is written in the table → opted in."""
    unheard = {address: (None, opted_in) for address, opted_in in before.items()}
    return {address: ledger.get((address.strip().lower(), ""), unheard[address])[1] for address in before}
