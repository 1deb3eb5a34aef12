"""Providers that sign nothing: a secret that their user has given them together with our address is all the proof."""

import base64
import secrets
from collections.abc import Iterable
from datetime import datetime

from providers.adapter import Adapter, NotVerified, Options, Proof, Verified, WebhookRequest
from providers.signing import check_secret, header


class CredentialOptions(Options):
    """`header`: the name of a header in which the provider sends the key."""

    header: str | None = None


class UnsignedAdapter(Adapter):
    """An adapter whose proof is a credential, wherever its provider can be told to put it."""

    Options = CredentialOptions

    async def verify(self, request: WebhookRequest) -> Verified:
        check_credential(request, self.keys, self.options)
        return Verified(request)

    def prove(self, body: bytes, at: datetime) -> Proof:
        return credential(self.keys[0], self.options)

    @classmethod
    def new_key(cls) -> str:
        return f"{cls.name}:{secrets.token_urlsafe(24)}"


def check_credential(request: WebhookRequest, keys: Iterable[str], options: Options) -> None:
    """A key `user:password` comes as HTTP basic authentication, any other as a bearer token or as `?key=…` in the address;
    where the source's option `header` names one, every key comes in that header instead.
    """
    authorization = request.headers.get("authorization", "")
    if isinstance(options, CredentialOptions) and options.header:
        check_secret(header(request, options.header), keys)
    elif "key" in request.query:
        check_secret(request.query["key"], keys)
    elif authorization.lower().startswith("bearer "):
        check_secret(authorization[7:].strip(), keys)
    elif authorization:
        check_secret(basic_credentials(request), keys)
    else:
        raise NotVerified("no credential: neither an Authorization header nor ?key=… in the address")


def credential(key: str, options: Options) -> Proof:
    """Where a provider would send this key."""
    if isinstance(options, CredentialOptions) and options.header:
        return {"headers": {options.header: key}}
    if ":" in key:
        return {"headers": {"authorization": basic_authorization(key)}}
    return {"query": {"key": key}}


def basic_credentials(request: WebhookRequest) -> str:
    """`user:password` of HTTP basic authentication."""
    scheme, _, encoded = header(request, "Authorization").partition(" ")
    if scheme.lower() != "basic":
        raise NotVerified("the Authorization header is not Basic")
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        raise NotVerified("the Authorization header is not base64 of user:password") from None


def basic_authorization(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"
