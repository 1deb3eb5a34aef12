"""The consent policy: which event withdraws or grants consent, to everything or to one topic; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from providers.adapter import Batch
from providers.events import EPOCH, Decision, Event, EventType

WITHDRAWS = frozenset({EventType.UNSUBSCRIBED, EventType.COMPLAINED})
GRANTS = frozenset({EventType.RESUBSCRIBED})

EVERYTHING = ""
Scope = Literal["topic", "global"]


@dataclass(frozen=True, slots=True)
class TopicPolicy:
    """What a topic of one source stands for.

    `scopes` is the user's own word: "global" is everything, joining as well as leaving. For other topics the provider's
    nature speaks: where it knows lists only, leaving one leaves everything, but joining one joins no more than that.
    """

    scopes: Mapping[str, Scope] = field(default_factory=dict)
    leaving_leaves_all: bool = False

    def reaches_everything(self, topic: str, *, opted_in: bool) -> bool:
        scope = self.scopes.get(topic)
        return scope == "global" if scope else self.leaving_leaves_all and not opted_in


def decide(batch: Batch, policy: TopicPolicy) -> Batch:
    """The batch, with what its events decide."""
    decisions = [decision for event in batch.events for decision in decisions_of(event, policy)]
    return replace(batch, decisions=decisions) if decisions else batch


def decisions_of(event: Event, policy: TopicPolicy) -> list[Decision]:
    if event.email_address is None:
        return []
    if event.type in WITHDRAWS:
        # In doubt opted out: an opt-out that tells no time counts from when it was heard of, an opt-in from never.
        return decisions(event, policy, opted_in=False, decided_at=event.occurred_at)
    if event.type in GRANTS and event.by_recipient:
        return decisions(event, policy, opted_in=True, decided_at=event.at or EPOCH)
    return []


def decisions(event: Event, policy: TopicPolicy, *, opted_in: bool, decided_at: datetime) -> list[Decision]:
    return [
        Decision(event.id, event.email_address or "", topic, opted_in, decided_at)
        for topic in topics_of(event, policy, opted_in=opted_in)
    ]


def topics_of(event: Event, policy: TopicPolicy, *, opted_in: bool) -> list[str]:
    if event.topic is None or event.type == EventType.COMPLAINED:
        return [EVERYTHING]
    if policy.reaches_everything(event.topic, opted_in=opted_in):
        return [EVERYTHING, event.topic]
    return [event.topic]
