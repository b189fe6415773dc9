"""Certificates for tests, made as they are needed."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _pem_key(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def issue(name, issuer=None, authority=False):
    """(certificate, key) objects for `name`; `issuer` is such a pair, or None: signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder()
               .subject_name(subject)
               .issuer_name(issuer[0].subject if issuer else subject)
               .public_key(key.public_key())
               .serial_number(x509.random_serial_number())
               .not_valid_before(now - datetime.timedelta(days=1))
               .not_valid_after(now + datetime.timedelta(days=30))
               .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
               .add_extension(x509.BasicConstraints(authority or not issuer, None), True))
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def pem(pair):
    """Both as PEM texts."""
    return pair[0].public_bytes(serialization.Encoding.PEM), _pem_key(pair[1])


def self_signed(name):
    return pem(issue(name))
