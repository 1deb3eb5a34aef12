"""Custom: other providers' known answers, verified by declaration alone; paths; and what is refused at start."""

import base64
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from pydantic import ValidationError

import providers
from providers.adapter import Batch, NotVerified, Verified, WebhookRequest
from providers.custom import Custom
from providers.decoding import encode
from providers.events import Event
from providers.signing import hmac_hex
from webhooks.consent import TopicPolicy, decisions_of

SIGNED_AT = datetime.fromtimestamp(1700000000, UTC)
EVENTS = {"type": "event", "address": "email", "time": "at", "types": {"unsub": "unsubscribed", "open": "opened"}}
SIGNATURE = {"header": "X-Acme-Signature", "algorithm": "hmac-sha256", "encoding": "hex"}
KEY = "acme-secret-0001"


def custom(*keys: str, **options: Any) -> Custom:
    return Custom("acme", keys or [KEY], {"events": EVENTS, **options})


def signed(*keys: str, id_header: str | None = None, **signature: Any) -> Custom:
    return custom(*keys, signature={**SIGNATURE, **signature}, id_header=id_header)


def request(body: bytes = b"{}", headers: Mapping[str, str] | None = None, **others: Any) -> WebhookRequest:
    named = {name.lower(): value for name, value in (headers or {}).items()}
    return WebhookRequest(source="acme", body=body, headers=named, **{"received_at": SIGNED_AT, **others})


# What other providers send, from their own vectors: signature, key, headers and body.
KNOWN: Mapping[str, tuple[dict[str, Any], str, dict[str, str], bytes]] = {
    "Lettermint: several fields in a header": (
        {
            "header": "X-Lettermint-Signature",
            "algorithm": "hmac-sha256",
            "encoding": "hex",
            "field": "v1",
            "timestamp_field": "t",
            "signed": "{timestamp}.{body}",
        },
        "whsec_lm-test-secret-0001",
        {"X-Lettermint-Signature": "t=1700000000,v1=68eae73047eaea2b91f06f8b50a9b739cf5a492db49543b4dce034511282afc0"},
        b'{"id":"wh-1","event":"message.unsubscribed","timestamp":"2023-11-14T22:13:20Z","data":{"message_id":"m-1","recipient":"ada@example.test"}}',
    ),
    "MailPace: Ed25519 by 32 bytes": (
        {"header": "X-MailPace-Signature", "algorithm": "ed25519", "encoding": "base64"},
        "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
        {
            "X-MailPace-Signature": "I1a5azCqCAptEel0wTHqsfytvIuMltpY6h3uD5AO3r7kDRqdpoJgWxhTiAOzy/2WfKeNne5vcggoTnWQrZj5Aw=="
        },
        b'{"event":"email.bounced","payload":{"status":"bounced","id":1,"to":"ada@example.test"}}',
    ),
    "Postal: RSA": (
        {"header": "X-Postal-Signature-256", "algorithm": "rsa-sha256", "encoding": "base64"},
        "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDDJkOKKDU9fhG09YxO4LQHNfAod7N+coxsLlJ7zwYmFjF/h/uq5eNxYhxbWG2nehoxcAhS2x/wJ4nU3MJzQskvmCRYBFVmY/HnkPRJE0H4/9mLAGivxfdz7G3ewsqRNQQChGSBUPdiAp5QrbwIjCnFMZgwY62EjoP6bHslGb2O/QIDAQAB",
        {
            "X-Postal-Signature-256": "PlMztEe+WpC7suwv3aEmRg1H51gglgi5xjqhncwOYBG/EcaLVa15l4FWCjF8yyyKCbCfQNFqWo95IuIgZu2saarFN"
            "zDNLWjh25/20oL2rSHHcbe+Uj956tRQmVxPgsKQUQDgZn0WzznFH748msZuM9lLAE2xur/KffpGNBEYIHg="
        },
        b'{"event":"MessageBounced","timestamp":1700000000.5,"payload":{"original_message":{"id":7,"to":"ada@example.test"},"bounce":{"id":8}},"uuid":"11111111-2222-3333-4444-555555555555"}',
    ),
    "SendGrid: ECDSA over time and body": (
        {
            "header": "X-Twilio-Email-Event-Webhook-Signature",
            "algorithm": "ecdsa-p256",
            "encoding": "base64",
            "signed": "{timestamp}{body}",
            "timestamp_header": "X-Twilio-Email-Event-Webhook-Timestamp",
        },
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWVKj4LXGXNB/2sf+JlUKX5QhgKclxNRQAMmmM6TfoxdkQ/Bo+vwM7GwWmdqgc965ypNG1hBJlf2Zfw48LW3Q7w==",
        {
            "X-Twilio-Email-Event-Webhook-Signature": "MEQCIAE7B3GVst8/JeFcT8Sbo7U5rOJXNSbia6Z1/3aWU+3eAiAXbFLsCWJr5rnFMyGXq1QSsD9emAxtUzaYAMYLRM1WDg==",
            "X-Twilio-Email-Event-Webhook-Timestamp": "1700000010",
        },
        b'[{"email":"ada@example.test","event":"processed","sg_event_id":"ev-1","sg_message_id":"m1.recvd-0.0","timestamp":1700000000},\r\n{"email":"ada@example.test","event":"delivered","response":"250 OK","sg_event_id":"ev-2","sg_message_id":"m1.recvd-0.0","timestamp":1700000005}]\r\n',
    ),
    "HubSpot: method and address, milliseconds": (
        {
            "header": "X-HubSpot-Signature-v3",
            "algorithm": "hmac-sha256",
            "encoding": "base64",
            "signed": "{method}{url}{body}{timestamp}",
            "url": ["https://former.example.test/", "https://hooks.example.test/webhooks/hubspot?src=a b"],
            "timestamp_header": "X-HubSpot-Request-Timestamp",
        },
        "hs-client-secret-0001",
        {
            "X-HubSpot-Signature-v3": "Y2GTguqneq5ZiCRHI8MBDNDSV+lxllXHclJ4NYRL918=",
            "X-HubSpot-Request-Timestamp": "1700000005000",
        },
        b'[{"eventId":1,"subscriptionType":"contact.propertyChange","propertyName":"hs_email_optout","propertyValue":"true","objectId":123,"portalId":62515,"occurredAt":1700000000000,"attemptNumber":0}]',
    ),
}


@pytest.mark.parametrize("name", KNOWN)
async def test_what_another_provider_signed_is_proven_by_declaration(name: str) -> None:
    signature, key, headers, body = KNOWN[name]
    adapter = custom("another key" if "hmac" in signature["algorithm"] else key, key, signature=signature)
    known = request(body, headers)
    assert await adapter.verify(known) is known
    changes = [replace(known, body=body + b" "), request(body)]
    changes += [replace(known, headers={**known.headers, each: flipped(text)}) for each, text in known.headers.items()]
    for changed in changes:
        with pytest.raises(NotVerified):
            await adapter.verify(changed)


def flipped(text: str) -> str:
    """The last digit or letter is another: in base64 it may hold bits that decoding ignores."""
    end = len(text.rstrip("="))
    return text[: end - 1] + chr(ord(text[end - 1]) ^ 1) + text[end:]


@pytest.mark.parametrize("algorithm", ["hmac-sha1", "hmac-sha256", "hmac-sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"prefix": "sha="},
        {"signed": "v0:{timestamp}:{body}", "timestamp_header": "X-Acme-Timestamp"},
        {"signed": "{timestamp}.{body}", "field": "v1", "timestamp_field": "t"},
        {"signed": "{timestamp}.{body}", "field": "s", "timestamp_header": "X-T", "separator": ";", "prefix": "x"},
        {"signed": "{id}.{body}.{url}", "id_header": "X-Acme-Id", "url": "https://example.com/webhooks/acme"},
    ],
)
async def test_what_is_sent_to_try_it_out_is_signed_as_settings_say(
    algorithm: str, encoding: str, others: dict[str, Any]
) -> None:
    adapter = signed(algorithm=algorithm, encoding=encoding, **others)
    for made in adapter.sign(
        [adapter.sample(each, "ada@example.test", SIGNED_AT, 1) for each in adapter.samples], SIGNED_AT
    ):
        assert await adapter.verify(made) is made
        with pytest.raises(NotVerified):
            await adapter.verify(replace(made, body=made.body.replace(b"ada", b"bda")))


def pem(private: Any) -> str:
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    text: bytes = private.private_bytes(serialization.Encoding.PEM, *form)
    return text.decode()


ED25519 = ed25519.Ed25519PrivateKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE = {"ed25519": ED25519, "ecdsa-p256": P256, "rsa-sha256": RSA}


@pytest.mark.parametrize("algorithm", PRIVATE)
async def test_a_public_key_may_be_written_in_several_ways(algorithm: str) -> None:
    private: Any = PRIVATE[algorithm]
    signer = signed(pem(private), algorithm=algorithm)
    [made] = signer.sign([{"event": "unsub"}], SIGNED_AT)
    public = private.public_key()
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    written = [
        pem(private),
        public.public_bytes(serialization.Encoding.PEM, info).decode(),
        base64.b64encode(public.public_bytes(serialization.Encoding.DER, info)).decode(),
    ]
    if algorithm == "ed25519":
        written += [public.public_bytes_raw().hex(), base64.b64encode(public.public_bytes_raw()).decode()]
    for key in written:
        assert await signed(key, algorithm=algorithm).verify(made)
    with pytest.raises(ValueError, match="public key"):
        signed(written[1], algorithm=algorithm).prove(b"", SIGNED_AT)


async def test_a_signature_by_web_crypto_has_r_and_s_side_by_side() -> None:
    r, s = decode_dss_signature(P256.sign(b"{}", ec.ECDSA(hashes.SHA256())))
    raw = r.to_bytes(32) + s.to_bytes(32)
    assert await signed(pem(P256), algorithm="ecdsa-p256").verify(request(headers={"X-Acme-Signature": raw.hex()}))


def test_a_test_of_our_own_signs_as_others_verify() -> None:
    headers = signed(pem(RSA), algorithm="rsa-sha256", encoding="base64").prove(b"{}", SIGNED_AT).get("headers", {})
    RSA.public_key().verify(base64.b64decode(headers["X-Acme-Signature"]), b"{}", padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize(
    ("algorithm", "others", "keys"),
    [
        ("ed25519", {}, [pem(P256), pem(RSA), "not a key", "AAAA", "", "-----BEGIN PUBLIC KEY-----"]),
        ("ecdsa-p256", {}, [pem(ED25519), pem(ec.generate_private_key(ec.SECP384R1())), "00" * 32]),
        ("rsa-sha256", {}, [pem(P256), "MFkw"]),
        ("hmac-sha256", {"key": "hex"}, ["xyz", "abc", ""]),
        ("hmac-sha256", {"key": "base64"}, ["%", "a"]),
    ],
)
def test_what_cannot_be_a_key_is_refused_at_start(algorithm: str, others: dict[str, Any], keys: list[str]) -> None:
    for key in keys:
        with pytest.raises(ValueError, match=r"."):
            signed(key, algorithm=algorithm, **others)


def test_basic_authentication_needs_a_user_and_a_password() -> None:
    with pytest.raises(ValueError, match="without a colon"):
        custom("a long secret", credential="basic")


async def test_a_key_may_be_written_in_hex_or_base64() -> None:
    proof = {"X-Acme-Signature": hmac_hex(b"\x00\xff\x10\x20", b"{}")}
    for how, key in (("hex", "00ff1020"), ("base64", "AP8QIA=="), ("base64", "AP8QIA")):
        assert await signed(key, key=how).verify(request(headers=proof))


TIMED = {"signed": "{timestamp}.{body}", "timestamp_header": "X-Acme-Timestamp"}


@pytest.mark.parametrize(
    ("age", "refusal"), [(timedelta(seconds=301), "stale: signed 301 s ago"), (-timedelta(minutes=6), "in the future")]
)
async def test_a_signed_time_must_be_fresh(age: timedelta, refusal: str) -> None:
    [made] = signed(**TIMED).sign([{}], SIGNED_AT)
    with pytest.raises(NotVerified, match=refusal):
        await signed(**TIMED).verify(replace(made, received_at=SIGNED_AT + age))
    assert await signed(**TIMED, tolerance=3600).verify(replace(made, received_at=SIGNED_AT + abs(age)))


async def test_several_signatures_in_a_header_are_of_several_keys_but_there_is_one_time() -> None:
    fields = {"signed": "{timestamp}.{body}", "field": "v1", "timestamp_field": "t"}
    right, wrong = hmac_hex(KEY, b"1700000000.{}"), "0" * 64
    for value in (f"t=1700000000,v1={wrong},v1={right}", f"t=1700000000, v1={right}, v1={wrong}, v0=x, y"):
        assert await signed(**fields).verify(request(headers={"X-Acme-Signature": value}))
    for value in (f"v1={right}", f"t=1700000000,t=1700000000,v1={right}", "t=1700000000", f"t=1700000000,v0={right}"):
        with pytest.raises(NotVerified, match=r"not one t=|no signature v1="):
            await signed(**fields).verify(request(headers={"X-Acme-Signature": value}))
    many = f"t=1700000000,{f'v1={wrong},' * 16}v1={right}"
    with pytest.raises(NotVerified, match="of no key"):
        await signed(**fields).verify(request(headers={"X-Acme-Signature": many}))


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        (None, "no header X-Acme-Signature"),
        ("", "no signature sha256=… in hex in the header X-Acme-Signature"),
        (hmac_hex(KEY, b"{}"), "no signature"),
        ("sha256=" + hmac_hex(KEY, b"{}")[:-1], "no signature"),
        ("sha256=" + hmac_hex(KEY, b"{}")[:-2], "of no key"),
        ("sha256=é", "no signature"),
        (f"sha256={hmac_hex(KEY, b'{}')}, sha256={hmac_hex(KEY, b'{}')}", "no signature"),
    ],
)
async def test_a_refusal_says_which_step_failed(value: str | None, refusal: str) -> None:
    headers = {} if value is None else {"X-Acme-Signature": value}
    with pytest.raises(NotVerified, match=refusal):
        await signed(prefix="sha256=").verify(request(headers=headers))


async def test_a_refusal_names_the_address_that_was_tried_but_no_secret_in_it() -> None:
    urls = [f"https://user:pass@example.com/webhooks/acme?{query}" for query in ("key=secret", "secret", "a#secret")]
    adapter = signed(signed="{url}{body}", url=urls)
    with pytest.raises(NotVerified, match=r"https://…@example.com/webhooks/acme\?…:"):
        await adapter.verify(request(headers={"X-Acme-Signature": "00"}))


async def test_a_proof_of_no_body_is_good_for_one_body_if_it_has_an_id() -> None:
    adapter = signed(covers_body=False, signed="{id}", field="v1", id_header="X-Acme-Id")
    value = f"v1={hmac_hex(KEY, b'd-1')}"
    one = await adapter.verify(request(b"{}", {"X-Acme-Signature": value, "X-Acme-Id": "d-1"}))
    other = await adapter.verify(request(b"[]", {"X-Acme-Signature": f"v1=00,{value}", "X-Acme-Id": "d-1"}))
    assert adapter.token(one) == adapter.token(other) is not None
    assert adapter.token(Verified(request())) is None
    assert signed().token(one) is None


@pytest.mark.parametrize(
    ("options", "key", "genuine", "others"),
    [
        (
            {"credential": "basic"},
            "acme:pass:word",
            {"headers": {"Authorization": "Basic YWNtZTpwYXNzOndvcmQ="}},
            [{"headers": {"Authorization": "Basic YWNtZTpwYXNz"}}, {}],
        ),
        (
            {"credential": "bearer"},
            "a long secret",
            {"headers": {"Authorization": "Bearer a long secret"}},
            [{"headers": {"Authorization": "Bearer a long secreT"}}, {}],
        ),
        ({"credential": "query"}, "a-long-secret", {"query": {"key": "a-long-secret"}}, [{"query": {"key": "a"}}, {}]),
        (
            {"credential": "header", "header": "X-Acme-Token"},
            "a long secret",
            {"headers": {"X-Acme-Token": "a long secret"}},
            [{"headers": {"Authorization": "Bearer a long secret"}}, {"query": {"key": "a long secret"}}, {}],
        ),
    ],
)
async def test_where_nothing_is_signed_a_secret_is_carried(
    options: dict[str, Any], key: str, genuine: dict[str, Any], others: list[dict[str, Any]]
) -> None:
    adapter = custom("another:secret", key, **options)
    assert await adapter.verify(request(**genuine))
    for other in others:
        with pytest.raises(NotVerified):
            await adapter.verify(request(**other))
    [made] = custom(key, **options).sign([{}], SIGNED_AT)
    assert await adapter.verify(made)


def parse(body: Any, *, delivery_id: str | None = None, **events: Any) -> Batch:
    adapter = custom("a:b", credential="basic", id_header="X-Acme-Id", events={**EVENTS, **events})
    raw = body if isinstance(body, bytes) else encode(body)
    return adapter.parse(Verified(request(raw, {"X-Acme-Id": delivery_id} if delivery_id else None)))


def read(body: Any, **options: Any) -> Event:
    [event] = parse(body, **options).events
    return event


UNSUB = {"event": "unsub", "email": "ada@example.test"}


@pytest.mark.parametrize(
    ("body", "path", "addresses"),
    [
        ({"a": {"b": "ada@x.test"}}, "a.b", ["ada@x.test"]),
        ({"a.b": {"c": "ada@x.test"}}, r"a\.b.c", ["ada@x.test"]),
        ({"a": ["ada@x.test", None, 5, "", "no address", "Bob <bob@x.test>"]}, "a", ["ada@x.test", "bob@x.test"]),
        ({"a": [{"b": "ada@x.test"}, {"b": ["bob@x.test"]}, {"c": 1}, 5]}, "a.b", ["ada@x.test", "bob@x.test"]),
        ({"a": [{"b": "ada@x.test"}, {"b": "bob@x.test"}]}, "a.1.b", ["bob@x.test"]),
        ({"a": []}, "a.0", [None]),
        ({"a": {"0": "ada@x.test"}}, "a.0", ["ada@x.test"]),
        ({"a": "text"}, "a.b", [None]),
        ({"b": "bob@x.test"}, ["a", "b"], ["bob@x.test"]),
        ({"a": "ada@x.test, Bob <bob@x.test>"}, "a", ["ada@x.test", "bob@x.test"]),
        ({"a": "usr_1", "b": "bob@x.test"}, ["a", "b"], ["bob@x.test"]),
        ({"a": "ada@x.test", "b": "bob@x.test"}, ["a", "b"], ["ada@x.test"]),
    ],
)
def test_a_path_leads_through_objects_and_lists(body: Any, path: Any, addresses: list[str | None]) -> None:
    events = parse({"event": "open", **body}, address=path).events
    assert [event.email_address for event in events] == addresses


@pytest.mark.parametrize(
    ("body", "items", "found"),
    [
        (UNSUB, None, 1),
        ([UNSUB, UNSUB], None, 2),
        ({"events": [UNSUB, UNSUB]}, "events", 2),
        ({"events": []}, "events", 0),
        ({"data": {"events": [UNSUB]}}, "data.events", 1),
        ([{"events": [UNSUB]}, {"events": [UNSUB]}], "events", 2),
        ([{"events": [UNSUB]}, {"ping": 1}], "events", 1),
        ([{"events": [UNSUB]}, {"events": "none"}, 5], "events", 1),
        (b'{"data": {"events": [{"event": "unsub", "email": "ada@example.test"}, {]}}', "data.events", 0),
        (b'{"events": [{"event": "unsub", "email": "ada@example.test"}, {]}', "events", 1),
    ],
)
def test_records_lie_where_items_says(body: Any, items: str | None, found: int) -> None:
    batch = parse(body, **({"items": items} if items else {}))
    assert len(batch.events) == found
    assert found or batch.dead_letters or body == {"events": []}


@pytest.mark.parametrize("body", [{"events": UNSUB}, {"event": []}, {"events": None}, [], b"a=b", b"null"])
def test_a_body_without_its_list_is_kept_whole(body: Any) -> None:
    batch = parse(body, items="events")
    assert not batch.events
    assert [letter.is_item for letter in batch.dead_letters] == ([False] if body != [] else [])


def test_a_form_is_read_as_well() -> None:
    body = b"event=unsub&data%5Bemail%5D=ada%2Bnews%40example.test"
    assert read(body, address="data.email").email_address == "ada+news@example.test"


@pytest.mark.parametrize(
    ("subtype", "expected"),
    [
        ("hard", ("bounced", "hard")),
        ("SOFT", ("bounced", "soft")),
        ("odd", ("deferred", None)),
        (None, ("deferred", None)),
    ],
)
def test_a_subtype_tells_more_and_an_unknown_one_tells_nothing(
    subtype: str | None, expected: tuple[str, str | None]
) -> None:
    types = {"bounce": "deferred", "bounce/hard": "bounced hard", "bounce/soft": "bounced soft"}
    event = read({"event": "Bounce", "email": "a@x.test", "kind": subtype}, types=types, subtype="kind")
    assert (event.type, event.bounce_class) == expected


def test_dots_in_a_name_need_no_quotes() -> None:
    types = tomllib.loads('types = { email.left = "unsubscribed", "email.opened" = "opened" }')["types"]
    assert read({"event": "email.left", "email": "a@x.test"}, types=types).type == "unsubscribed"


def test_what_else_is_told_is_kept_and_what_is_of_another_kind_is_left_out() -> None:
    events = {
        "time": ["at", "ts"],
        "is_machine": "bot",
        "tags": "tags",
        "metadata": "meta",
        "message_id": "mid",
        **{name: name for name in ("reason", "url", "ip", "user_agent")},
    }
    told = {"at": "soon", "ts": 1700000000, "mid": "<m@x>", "tags": ["a", 5, None], "meta": {"uid": 7}, "bot": True}
    event = read(
        {**UNSUB, **told, "reason": "full", "url": "https://a", "ip": "192.0.2.1", "user_agent": "UA"}, **events
    )
    assert (event.at, event.message_id, event.tags, event.metadata) == (SIGNED_AT, "m@x", ("a", "5"), {"uid": 7})
    assert (event.reason, event.url, event.ip, event.user_agent) == ("full", "https://a", "192.0.2.1", "UA")
    assert event.is_machine is True
    odd = read({**UNSUB, **{each: {"a": [1]} for each in (*told, "reason", "url", "ip", "user_agent")}}, **events)
    assert (odd.type, odd.at, odd.reason, odd.is_machine) == ("unsubscribed", None, None, None)


@pytest.mark.parametrize(
    ("meaning", "topics"),
    [
        ("unsubscribed", {"": False, "news": False}),
        ("complained", {"": False}),
        ("resubscribed", {}),
        ("resubscribed by recipient", {"news": True}),
        ("opened", {}),
    ],
)
def test_an_opt_in_counts_where_settings_say_that_the_recipient_did_it(meaning: str, topics: dict[str, bool]) -> None:
    event = read({**UNSUB, "list": "news", "ts": 1700000000}, types={"unsub": meaning}, topic="list", time="ts")
    policy = TopicPolicy(leaving_leaves_all=Custom.leaving_a_topic_leaves_all)
    assert {decision.topic: decision.opted_in for decision in decisions_of(event, policy)} == topics


@pytest.mark.parametrize(
    ("told", "topic", "topics"),
    [
        ({}, None, {"": True}),
        ({"list": "news"}, ["lists.id", "list"], {"news": True}),
        ({}, "list", {}),
        ({"list": None}, "list", {}),
        ({"list": {"id": 5}}, "list", {}),
    ],
)
def test_joining_a_topic_that_is_not_told_joins_nothing(
    told: dict[str, Any], topic: Any, topics: dict[str, bool]
) -> None:
    events = {"types": {"unsub": "resubscribed by recipient"}, "time": "ts", **({"topic": topic} if topic else {})}
    event = read({**UNSUB, "ts": 1700000000, **told}, **events)
    assert {decision.topic: decision.opted_in for decision in decisions_of(event, TopicPolicy())} == topics


def test_each_of_several_topics_is_an_event_for_each_address() -> None:
    several = {
        "event": "unsub",
        "id": 7,
        "email": ["ada@x.test", "bob@x.test"],
        "lists": [{"id": 5}, {"id": 6}, {"id": 5}],
    }
    events = parse(several, topic="lists.id", id="id").events
    assert [(event.email_address, event.topic) for event in events] == [
        ("ada@x.test", "5"),
        ("ada@x.test", "6"),
        ("bob@x.test", "5"),
        ("bob@x.test", "6"),
    ]
    assert len({event.id for event in events}) == 4
    single = read({**several, "email": "ada@x.test", "lists": [{"id": 5}]}, topic="lists.id", id="id")
    assert single.id == events[0].id == "00000000-0000-8137-bb5f-8da054b1c21c"


def test_an_id_names_the_event_whatever_else_changes() -> None:
    first = read({**UNSUB, "id": 7}, id="id")
    assert first.provider_event_id == "7"
    assert read({**UNSUB, "id": 7, "attempt": 2, "email": "ADA@example.test"}, id="id").id == first.id
    assert read({**UNSUB, "id": 8}, id="id").id != first.id
    assert read({**UNSUB, "id": 7, "event": "open"}, id="id").id != first.id


def test_so_does_the_header_that_names_a_delivery() -> None:
    first = read(UNSUB, delivery_id="d-1")
    assert read({**UNSUB, "attempt": 2}, delivery_id="d-1").id == first.id
    assert len({first.id, read(UNSUB, delivery_id="d-2").id, read(UNSUB).id}) == 3
    assert read({**UNSUB, "id": 7}, delivery_id="d-1", id="id").provider_event_id == "7"


def test_without_an_id_the_whole_record_names_it_but_for_what_is_ignored() -> None:
    ignore = ["attempt", "delivery.sent_at"]
    first = {**UNSUB, "attempt": 1, "delivery": {"sent_at": 1, "to": "a"}}
    again = {"delivery": {"to": "a", "sent_at": 2}, "attempt": 2, **UNSUB}
    other = {**UNSUB, "delivery": {"to": "b"}}
    assert read(first, ignore=ignore).id == read(again, ignore=ignore).id != read(other, ignore=ignore).id
    assert read(first).id != read(again).id


def faults(**options: Any) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        Custom("acme", [KEY], options)
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in refused.value.errors()]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["events: is missing: write [sources.NAME.events]"]),
        ({"events": EVENTS}, ["signature: is missing: write [sources.NAME.signature] or"]),
        ({"events": EVENTS, "signature": SIGNATURE, "credential": "basic"}, ["credential: is one proof too many"]),
        ({"events": EVENTS, "credential": "header"}, ['header: is missing: write header = "X-Acme-Token"']),
        ({"events": EVENTS, "credential": "bearer", "header": "X"}, ['header: is for credential = "header" only']),
        (
            {"events": EVENTS, "credential": "token"},
            ["credential: Input should be 'basic', 'bearer', 'query' or 'header'"],
        ),
        ({"events": EVENTS, "signature": SIGNATURE, "id_header": "X-Id"}, ["id_header: is not signed"]),
        (
            {"signature": {}, "events": {}},
            [
                'signature.header: is missing: write header = "X-Acme-Signature"',
                'signature.algorithm: is missing: write algorithm = "hmac-sha256"',
                'signature.encoding: is missing: write encoding = "hex"',
                'events.type: is missing: write type = "event.name"',
                'events.types: is missing: write types = { "their.name" = "unsubscribed" }',
                'events.address: is missing: write address = "recipient.email"',
            ],
        ),
        (
            {"signature": {**SIGNATURE, "heder": "x"}, "events": EVENTS, "signatur": 1},
            ["signature.heder: is no option: do you mean header?", "signatur: is no option: do you mean signature?"],
        ),
        ({"signature": "x", "events": []}, ["signature: is no table", "events: is no table"]),
    ],
)
def test_a_mistake_is_told_at_start_with_what_to_write_instead(options: dict[str, Any], words: list[str]) -> None:
    assert_told(faults(**options), words)


def assert_told(found: list[str], words: Iterable[str]) -> None:
    for word in words:
        assert any(word in fault for fault in found), found


UNTIMED = {"type": "event", "address": "email"}


@pytest.mark.parametrize("meaning", ["unsubscribed", "complained", "resubscribed by recipient"])
def test_consent_needs_what_tells_the_same_opt_out_from_a_later_one(meaning: str) -> None:
    events = {**UNTIMED, "types": {"unsub": meaning, "open": "opened"}}
    told = faults(credential="bearer", events=events)
    assert_told(told, ["events.time: is missing, and so are id and id_header: who opts out", 'id = "event.id"'])
    for more in ({"time": "at"}, {"id": "id"}):
        assert custom(credential="bearer", events={**events, **more})
    assert custom(credential="bearer", events=events, id_header="X-Acme-Delivery")


def test_what_has_no_say_in_consent_needs_neither_time_nor_id() -> None:
    assert custom(credential="bearer", events={**UNTIMED, "types": {"open": "opened", "resub": "resubscribed"}})


def test_an_opt_out_that_comes_again_after_an_opt_in_is_an_event_of_its_own() -> None:
    types = {"unsub": "unsubscribed", "resub": "resubscribed by recipient"}
    first, _, again = parse(
        [{**UNSUB, "at": 1700000000}, {**UNSUB, "event": "resub", "at": 1700000060}, {**UNSUB, "at": 1700000120}],
        types=types,
    ).events
    assert first.id != again.id


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ({"signed": "{timestamp}.{body}"}, "signed: has {timestamp}: say where it comes"),
        ({"timestamp_header": "X-T"}, "timestamp_header: is not signed"),
        ({"timestamp_field": "t"}, 'timestamp_field: lies beside the signature in one header: write field = "v1"'),
        (
            {**TIMED, "field": "v1", "timestamp_field": "t"},
            "timestamp_field: is one place too many",
        ),
        ({"signed": "{id}.{body}"}, "id_header: is missing, but {id} is in signature.signed"),
        ({"signed": "{timestamp}"}, "signed: without {body} a signature fits any body"),
        ({"covers_body": False}, "covers_body: is false, but {body} is in signed"),
        ({"signed": "{url}{body}"}, "url: is missing, but {url} is in signed"),
        ({"url": "https://example.com"}, "url: is not in signed"),
        ({"signed": "{url}{body}", "url": "example.com"}, "url.0: 'example.com' is no address"),
        ({"signed": "{ts}.{body}"}, "signed: {ts} stands for nothing: there are {timestamp}, {id}"),
        ({"signed": "{body}}"}, "signed: has a brace too many"),
        ({"tolerance": 60}, "tolerance: needs a time that is signed"),
        ({"separator": ";"}, "separator: stands between the fields of a header"),
        ({"algorithm": "ed25519", "key": "hex"}, "key: is for HMAC only"),
        ({"algorithm": "md5"}, "algorithm: Input should be 'hmac-sha256'"),
        ({"header": "X-Acme: "}, "header: 'X-Acme: ' is no header's name"),
    ],
)
def test_a_signature_that_cannot_be_is_told_at_start(signature: dict[str, Any], words: str) -> None:
    assert_told(faults(signature={**SIGNATURE, **signature}, events=EVENTS), [words])


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ({"type": "a..b"}, "events.type: 'a..b' is no path"),
        ({"type": " a"}, "events.type: ' a' is no path"),
        ({"address": "$.to[0]"}, 'is no path of ours: for $.recipients[0].email write "recipients.0.email"'),
        ({"time": 5}, "events.time: 5 is no path"),
        ({"time": []}, "events.time: is an empty list"),
        ({"id": ["a", ""]}, "events.id: '' is no path"),
        ({"types": {}}, "events.types: says nothing"),
        ({"types": ["unsub"]}, "events.types: says nothing"),
        ({"types": {"a": "unsubscribe"}}, "a = 'unsubscribe' is no event type: do you mean 'unsubscribed'?"),
        ({"types": {"a": True}}, "a = 'True' is no event type; there are accepted, sent"),
        ({"types": {"a": "opened", "A": "clicked"}}, "says the same name twice"),
        ({"subtype": "kind"}, "subtype: no name in types has one"),
        ({"adress": "email"}, "events.adress: is no option: do you mean address?"),
    ],
)
def test_events_that_cannot_be_are_told_at_start(events: dict[str, Any], words: str) -> None:
    assert_told(faults(signature=SIGNATURE, events={**EVENTS, **events}), [words])


def examples() -> list[str]:
    page = Path(providers.__file__).with_name("custom.md").read_text()
    return [part.partition("```")[0] for part in page.split("```toml\n")[1:]]


def test_the_page_has_a_signed_and_an_unsigned_example() -> None:
    assert len(examples()) == 2


@pytest.mark.parametrize("example", examples(), ids=["signed", "unsigned"])
async def test_an_example_of_the_page_works(example: str) -> None:
    source = tomllib.loads(example)["sources"]["acme"]
    adapter = Custom("acme", source["keys"], {name: source[name] for name in source.keys() - {"provider", "keys"}})
    assert next(iter(adapter.samples)).startswith("unsub")
    samples = [adapter.sample(event, "ada@example.test", SIGNED_AT, n) for n, event in enumerate(adapter.samples)]
    for made in adapter.sign(samples, SIGNED_AT):
        events = adapter.parse(await adapter.verify(made)).events
        assert {(event.email_address, event.at) for event in events} == {("ada@example.test", SIGNED_AT)}
