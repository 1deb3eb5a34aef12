"""The one thing that adapters ask of the world: the certificate of a signature, and a subscription's confirmation."""

from urllib.parse import urlsplit

from providers.adapter import ProofUnavailable

SECONDS = 5.0
MAX_BYTES = 64 * 1024


async def fetch(url: str) -> bytes:
    """GET an https address: the body of a 200, no redirect followed. Raises ProofUnavailable."""
    import ssl

    import aiohttp

    if urlsplit(url).scheme != "https":
        raise ProofUnavailable(f"{url} is not https")
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(url, allow_redirects=False, ssl=ssl.create_default_context()) as response,
        ):
            if response.status != 200:
                raise ProofUnavailable(f"{url} answers {response.status}")
            body = await response.content.read(MAX_BYTES + 1)
            while len(body) <= MAX_BYTES and (part := await response.content.read(MAX_BYTES)):
                body += part
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ProofUnavailable(f"{url}: {type(error).__name__} {error}") from error
    if len(body) > MAX_BYTES:
        raise ProofUnavailable(f"{url} answers more than {MAX_BYTES} bytes")
    return body
