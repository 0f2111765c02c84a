"""Attestations, verified by the PyPI package `sd-jwt`."""

import base64
import json

from jwcrypto.jwk import JWK
from sd_jwt.verifier import SDJWTVerifier

import directory


def verified(document, text, producer):
    """The claims of the SD-JWT `text`, signed by a seal key that the directory gives `producer`."""
    keys = directory.participant(document, producer)["seal_keys"]

    def seal_key(issuer, header):
        assert issuer == producer, f"issued by {issuer}"
        assert header["typ"] == "dc+sd-jwt" and header["alg"] == "ES256"
        (key,) = [key for key in keys if key["kid"] == header["kid"]]
        return JWK(**key)

    return SDJWTVerifier(text, seal_key).get_verified_payload()


def disclosed(text):
    """The disclosures of the SD-JWT `text` by name, each as its value's JSON text."""
    texts = {}
    for part in text.split("~")[1:-1]:
        array = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
        salt, name, _ = json.loads(array)
        _, rest = array.split(json.dumps(name), 1)
        texts[name] = rest.strip().removeprefix(",").removesuffix("]").strip()
    return texts
