"""AhaSend: a key that is the secret's own text, and complaints that come as suppressions."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from providers.adapter import NotVerified, Verified, WebhookRequest
from providers.ahasend import AhaSend
from providers.decoding import encode
from providers.events import Event

KEY = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
KNOWN = WebhookRequest(
    source="ahasend",
    body=b'{"type":"email.bounced","created_at":"2023-11-14T22:13:20.000Z","data":{"email_id":"e1","to":["ada@example.test"]}}',
    headers={
        "webhook-id": "msg_2abcDEFghiJKLmnoPQRstu",
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1,hn4Dy3NRTRvb0quqQG+sa3/dGHrhWbIe2iByOoiwrSo=",
    },
    received_at=datetime.fromtimestamp(1700000005, UTC),
)


async def test_the_known_signature_is_genuine() -> None:
    assert await AhaSend("ahasend", [KEY]).verify(KNOWN)


@pytest.mark.parametrize(
    "signature",
    [
        "v1,ScCZC4jgsOzKbTPuMMlS9LQ2hU7HOYK5Po3bUdW7Qso=",  # by the decoded secret
        "hn4Dy3NRTRvb0quqQG+sa3/dGHrhWbIe2iByOoiwrSo=",
        "v1,hn4Dy3NRTRvb0quqQG+sa3/dGHrhWbIe2iByOoiwrSo",
    ],
)
async def test_the_secret_is_not_decoded(signature: str) -> None:
    with pytest.raises(NotVerified):
        await AhaSend("ahasend", [KEY]).verify(
            replace(KNOWN, headers={**KNOWN.headers, "webhook-signature": signature})
        )


async def test_any_text_can_be_a_secret() -> None:
    adapter = AhaSend("ahasend", ["aha-whsec-€ % _"])
    [request] = adapter.sign([{}], KNOWN.received_at)
    assert await adapter.verify(request)


def read(
    kind: str, delivery_id: str = "msg_1", timestamp: str = "2026-02-12T10:00:00.687031577Z", **data: Any
) -> Event:
    body = encode({"type": kind, "timestamp": timestamp, "data": {"recipient": "ada@example.test", **data}})
    headers = {f"webhook-{each}": delivery_id for each in ("id", "timestamp", "signature")}
    request = WebhookRequest(source="ahasend", body=body, headers=headers)
    [event] = AhaSend("ahasend", [KEY]).parse(Verified(request)).events
    return event


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("Spam complaint", "complained"),
        ("recipient COMPLAINED", "complained"),
        ("Recipient unsubscribed", "unsubscribed"),
        ("Unsubscribe after a complaint", "complained"),
        ("Too many hard bounces", "unknown"),
        ("rejected as spam", "unknown"),
        (None, "unknown"),
        (["complaint"], "unknown"),
    ],
)
def test_a_suppression_after_a_complaint_or_an_unsubscribe_is_just_that(reason: Any, kind: str) -> None:
    assert read("suppression.created", reason=reason).type == kind


@pytest.mark.parametrize(
    ("kind", "attempt", "bounce_class"),
    [
        ("message.bounced", {"classification": "InvalidRecipient"}, "hard"),
        ("message.bounced", {"classification": "MadeUpTomorrow"}, "hard"),
        ("message.bounced", {"classification": "QuotaIssues"}, "soft"),
        ("message.bounced", {"classification": {}}, "hard"),
        ("message.bounced", None, "hard"),
        ("message.failed", None, "soft"),
        ("message.transient_error", {"classification": "InvalidRecipient"}, None),
    ],
)
def test_what_was_given_up_says_nothing_lasting_of_an_address(
    kind: str, attempt: Any, bounce_class: str | None
) -> None:
    assert read(kind, delivery_attempt=attempt).bounce_class == bounce_class


def test_the_time_keeps_its_microseconds_and_the_message_id_loses_its_brackets() -> None:
    event = read("message.delivered", message_id_header="<m@example.com>", id="internal")
    assert (event.occurred_at.microsecond, event.message_id) == (687031, "m@example.com")


def test_only_opens_and_clicks_can_be_a_machines() -> None:
    assert read("message.delivered", is_bot=False).is_machine is None
    assert read("message.opened", is_bot=True).is_machine is True
    assert read("message.clicked").is_machine is None


def test_what_differs_is_another_event_and_what_is_sent_again_is_not() -> None:
    others = [
        read("message.clicked"),
        read("message.clicked", "msg_2"),
        read("message.opened"),
        read("message.clicked", timestamp="2026-02-12T10:00:01Z"),
        read("message.clicked", url="https://a"),
        read("message.clicked", id="m"),
        read("message.clicked", recipient="bob@example.test"),
    ]
    assert len({event.id for event in others}) == len(others)
    assert read("message.clicked", recipient="ADA@example.test").id == others[0].id
