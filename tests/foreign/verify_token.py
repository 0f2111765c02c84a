"""Access tokens and receipts of grants, verified by this file and PyPI's `cryptography`. Standard input: {"dir", "pin",
"tokens": [{"token", "pivot_jwe", "certificate", "operator", "client"}], "receipts": [{"file", "says": {...}}]}; a line `ok …` for each thing."""

import base64
import hashlib
import json
import sys
import time
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

import directory

CLAIMS = set(
    "iss aud sub client_id iat nbf exp jti acr auth_time idp_iss cnf gh authorization_details capacity pivot_hash gs rvk".split()
)
OPTIONAL = {"act_client", "mandate", "motive", "subject_unbound"}


class Refused(Exception):
    """What is wrong."""


def need(holds, what):
    """Refuses unless it holds."""
    if not holds:
        raise Refused(what)


def unb64(text):
    """The bytes of base64url in its one spelling."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    need(b64(data) == text, "another spelling of base64url")
    return data


def b64(data):
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def digest(data):
    """SHA-256, in base64url."""
    return b64(hashlib.sha256(data).digest())


def strict(text):
    """JSON that names no member twice."""
    def once(pairs):
        need(len({name for name, _ in pairs}) == len(pairs), "a member is named twice")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=once)


def thumbprint(jwk):
    """RFC 7638."""
    required = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    return digest(json.dumps(required, sort_keys=True, separators=(",", ":")).encode())


def payload(text, typ, jwks):
    """The payload of a compact JWS of this type by one of these keys: ES256, a closed header, r and s."""
    need(text.count(".") == 2, "not three parts")
    signed, _, signature = text.rpartition(".")
    header_text, body = signed.split(".")
    header = strict(unb64(header_text))
    need(set(header) == {"alg", "typ", "kid"}, "another header than alg, typ and kid")
    need(header["alg"] == "ES256" and header["typ"] == typ, "another algorithm or type")
    keys = [jwk for jwk in jwks if thumbprint(jwk) == header["kid"]]
    need(len(keys) == 1, "no key of the directory")
    x, y = (int.from_bytes(unb64(keys[0][name]), "big") for name in ("x", "y"))
    raw = unb64(signature)
    need(len(raw) == 64, "not r and s")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    try:
        key = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
        key.verify(encode_dss_signature(r, s), signed.encode(), ECDSA(SHA256()))
    except InvalidSignature as error:
        raise Refused("the signature does not verify") from error
    return strict(unb64(body))


def token(document, case, now):
    """What a producer checks of a token before it looks into its own books."""
    authority = document["authority"]
    claims = payload(case["token"], "at+jwt", authority["token_keys"])
    need(CLAIMS <= set(claims) <= CLAIMS | OPTIONAL, "other claims")
    need(claims["iss"] == authority["issuer"] and claims["aud"] == case["operator"], "another issuer or audience")
    need(claims["client_id"] == case["client"], "another client")
    need(max(claims["iat"], claims["nbf"]) <= now + 10 and claims["exp"] + 5 > now, "another time")
    need(0 < claims["exp"] - claims["iat"] <= 300, "too long a life")
    leaf = x509.load_pem_x509_certificate(Path(case["certificate"]).read_bytes()).public_bytes(Encoding.DER)
    need(claims["cnf"] == {"x5t#S256": digest(leaf)}, "another certificate")
    need(claims["pivot_hash"] == digest(case["pivot_jwe"].encode()), "another pivot")
    (details,) = claims["authorization_details"]
    need(details["gh"] == claims["gh"] and details["locations"] == [claims["aud"]], "details of another handle")
    need(("motive" in claims) == (claims["capacity"] == "agent"), "a motive of nobody's, or none of an officer's")
    acts = claims["capacity"] in ("helper", "entity")
    need(acts or "mandate" not in claims, "a mandate of whoever acts for themselves")
    need(claims["capacity"] != "helper" or len(unb64(claims["mandate"])) == 32, "a helper without a mandate")
    providers = {provider["issuer"]: provider["acr"] for provider in authority["identity_providers"]}
    need(claims["acr"] in providers.get(claims["idp_iss"], []), "a level that the issuer may not assert")
    return claims


def receipt(document, file):
    """What anybody checks of the receipt of a grant."""
    authority = document["authority"]
    signed = payload(file["signed"], "unefois-grant-receipt+jwt", authority["withdrawal_keys"])
    need(signed == file["receipt"], "what is read is not what is signed")
    need(signed["iss"] == authority["issuer"], "another authority")
    asked = signed.get("asked_without_person")
    notices = [signed["privacy_notice"], (asked or {}).get("shown_to_officer")]
    for notice in filter(None, notices):
        need(hashlib.sha256(notice["text"].encode()).hexdigest() == notice["sha256"], "another notice")
    who = {"agent": "officer", "automatic": "nobody"}.get(signed["capacity"])
    need((asked or {}).get("decided_by") == who, "asked otherwise than in that capacity")
    need((signed["privacy_notice"] is None) == (who is not None), "a notice of nobody's, or none")
    need(("representation" in signed) == (signed["capacity"] in ("entity", "helper")), "acted otherwise for whom")
    return signed


def refuses(check, what):
    """That the check refuses."""
    try:
        check()
        raise AssertionError(f"{what} was taken")
    except Refused:
        pass


def main():
    asked, now = json.load(sys.stdin), time.time()
    document = directory.read(f"{asked['dir']}/lyon/directory.jws", asked["pin"])
    for case in asked["tokens"]:
        claims = token(document, case, now)
        print(f"ok a verifier apart from ours takes the token for {claims['authorization_details'][0]['datatypes'][0]}")
        head, body, signature = case["token"].split(".")
        forged = b64(unb64(body).replace(b'"exp"', b'"exp":1,"exp"', 1))
        none = b64(b'{"alg":"none","typ":"at+jwt","kid":"x"}')
        for changed in (f"{head}.{forged}.{signature}", f"{none}.{body}.", case["token"][:-2]):
            refuses(lambda text=changed: token(document, {**case, "token": text}, now), "a changed token")
        refuses(lambda: token(document, {**case, "pivot_jwe": "a..b.c.d"}, now), "another pivot")
        refuses(lambda: token(document, case, claims["exp"] + 6), "an expired token")
        print("ok and refuses it changed, with another pivot, and once it has expired")
    for case in asked["receipts"]:
        file = case["file"]
        signed = receipt(document, file)
        need({name: signed[name] for name in case["says"]} == case["says"], "a receipt of another grant")
        what = f"{len(signed['purposes'])} elements, {len(signed['events'])} events, {signed['capacity']}"
        print(f"ok it verifies the receipt of a grant: {what}")
        for member in ("record_id", *case["says"]):
            other = {**file, "receipt": {**file["receipt"], member: "other"}}
            refuses(lambda: receipt(document, other), f"a receipt whose {member} reads otherwise")


main()
