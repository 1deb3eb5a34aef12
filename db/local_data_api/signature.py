"""Signature version 4, by its form: a call must be signed for this service; whose signature it is does not matter.

The clock is not compared: tests of other projects freeze theirs.
"""

import re
from collections.abc import Mapping

from db.local_data_api.errors import ApiError

SERVICE = "rds-data"
ALGORITHM = "AWS4-HMAC-SHA256"
REQUIRED = ("Credential", "Signature", "SignedHeaders")
TIMESTAMP = re.compile(r"\d{8}T\d{6}Z")
SIGNATURE = re.compile(r"[0-9a-f]{64}")


def check_signature(headers: Mapping[str, str]) -> None:
    authorization = headers.get("authorization", "").strip()
    if not authorization:
        raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token")
    parts = signature_parts(authorization)
    stamp = headers.get("x-amz-date") or headers.get("date") or ""
    missing = [f"Authorization header requires '{name}' parameter." for name in REQUIRED if not parts.get(name)]
    if not stamp:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if missing:
        raise incomplete(f"{' '.join(missing)} Authorization={ALGORITHM}")
    check_scope(parts["Credential"], headers.get("x-amz-date"))
    if "host" not in parts["SignedHeaders"].split(";"):
        raise wrong("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if not SIGNATURE.fullmatch(parts["Signature"]):
        raise wrong("The request signature we calculated does not match the signature you provided.")


def signature_parts(authorization: str) -> dict[str, str]:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise incomplete(f"Unsupported AWS 'algorithm': '{algorithm}'.")
    parts = {}
    for part in filter(None, map(str.strip, rest.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise incomplete(f"'{part}' not a valid key=value pair (missing equal-sign) in Authorization header.")
        parts[name] = value
    return parts


def check_scope(credential: str, stamp: str | None) -> None:
    scope = credential.split("/")
    # An access key may itself hold slashes.
    if len(scope) < 5 or not all(scope):
        raise incomplete("Credential must have exactly 5 slash-delimited elements: keyid/date/region/service/term.")
    day, _, service, term = scope[-4:]
    if service != SERVICE:
        raise wrong(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if term != "aws4_request":
        raise wrong(f"Credential should be scoped with a valid terminator: 'aws4_request', not '{term}'.")
    if stamp is None:
        return
    if not TIMESTAMP.fullmatch(stamp):
        raise incomplete(f"Date must be in ISO-8601 'basic format'. Got '{stamp}'.")
    if not stamp.startswith(f"{day}T"):
        raise wrong(f"Date in Credential scope does not match YYYYMMDD of X-Amz-Date: '{day}' != '{stamp[:8]}'.")


def incomplete(message: str) -> ApiError:
    return ApiError("IncompleteSignatureException", message)


def wrong(message: str) -> ApiError:
    return ApiError("InvalidSignatureException", message)
