"""What the HMAC secret is for: sealing stored tokens, MACs on consent forms, and refresh token succession."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12


class Vault:
    """Encrypts and authenticates with keys derived (HKDF, RFC 5869) from the HMAC secrets.

    The first secret is current; the others still open what they sealed, so that a secret can be rotated.
    What was sealed under one `bound_to` is not opened under another: a store that meets another upstream
    must not send it the first one's tokens.
    """

    def __init__(self, current: bytes, *previous: bytes, bound_to: str = "") -> None:
        self._bound_to = bound_to
        secrets_ = (current, *previous)
        self._ciphers: Sequence[AESGCM] = [AESGCM(_derive(secret, b"seal")) for secret in secrets_]
        self._mac_keys = [_derive(secret, b"mac") for secret in secrets_]

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Encrypt (AES-256-GCM); only `unseal` with the same purpose gives it back."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._ciphers[0].encrypt(nonce, plain, self._label(purpose))

    def unseal(self, sealed: bytes, purpose: str) -> bytes | None:
        """The plain bytes, or None when no secret of ours sealed them for this purpose."""
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._label(purpose))
            except (InvalidTag, ValueError):
                continue
        return None

    def _label(self, purpose: str) -> bytes:
        return f"{purpose}\0{self._bound_to}".encode()

    def mac(self, purpose: str, *parts: str) -> str:
        """HMAC-SHA256 over the parts with the current secret, base64url."""
        return next(self.macs(purpose, *parts))

    def macs(self, purpose: str, *parts: str) -> Iterator[str]:
        """The same MAC under every secret, current first."""
        message = "\0".join((purpose, *parts)).encode()
        for key in self._mac_keys:
            yield base64url(hmac.digest(key, message, "sha256"))


def random_token() -> str:
    """256 random bits, base64url: codes, states, refresh tokens, cookies."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored in place of a random secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def s256(verifier: str) -> str:
    """The PKCE S256 challenge of a verifier (RFC 7636 section 4.2)."""
    return base64url(hashlib.sha256(verifier.encode()).digest())


def same(one: str, other: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _derive(secret: bytes, use: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length=32, salt=None, info=b"workshop-gateway " + use).derive(secret)
