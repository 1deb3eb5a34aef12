"""The one thing that adapters ask of the world: the certificate of a signature, and a subscription's confirmation."""

from urllib.parse import urlsplit

from providers.adapter import ProofUnavailable

SECONDS = 5.0
MAX_BYTES = 64 * 1024


async def fetch(url: str) -> bytes:
    """GET an https address: the body of a 200, no redirect followed. Raises ProofUnavailable."""
    import httpx

    if urlsplit(url).scheme != "https":
        raise ProofUnavailable(f"{url} is not https")
    parts: list[bytes] = []
    try:
        async with httpx.AsyncClient(timeout=SECONDS) as client, client.stream("GET", url) as response:
            if response.status_code != 200:
                raise ProofUnavailable(f"{url} answers {response.status_code}")
            async for part in response.aiter_bytes():
                parts.append(part)
                if sum(map(len, parts)) > MAX_BYTES:
                    raise ProofUnavailable(f"{url} answers more than {MAX_BYTES} bytes")
    except httpx.HTTPError as error:
        raise ProofUnavailable(f"{url}: {type(error).__name__} {error}") from error
    return b"".join(parts)
