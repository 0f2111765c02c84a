"""The directory: whose keys and logs are whose, signed offline by the key that everybody pins."""

import json

from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS


def read(path, pin):
    """The directory in the file `path`, if the key of thumbprint `pin` signed it."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    jws = JWS()
    jws.deserialize(text)
    key = JWK(**json.loads(text)["header"]["jwk"])
    assert key.thumbprint() == pin, "another key signed the directory"
    jws.verify(key, alg="ES256")
    assert jws.jose_header["typ"] == "unefois-directory+jws"
    return json.loads(jws.payload)


def participant(directory, name):
    """The row of a participant."""
    (row,) = [row for row in directory["participants"] if row["id"] == name]
    return row
