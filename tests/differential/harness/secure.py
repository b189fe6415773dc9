"""TLS for the client: `@tls [NAME] [option=value]...` shakes hands on the connection that is open.

Certificates are those of tests/support/certificates.py, made once a run; the section `certificates`
puts them into the prefix, in the folder `certs`.
"""

import atexit
import os
import re
import shutil
import ssl
import sys
import tempfile
import threading
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
import certificates  # noqa: E402

_lock = threading.Lock()
_folder = None


def folder():
    global _folder
    with _lock:
        if _folder is None:
            _folder = tempfile.mkdtemp(prefix="weir-certificates-")
            atexit.register(shutil.rmtree, _folder, True)
            certificates.make(_folder)
    return _folder


VERSIONS = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2,
            "1.3": ssl.TLSVersion.TLSv1_3}


def context(options):
    warnings.simplefilter("ignore", DeprecationWarning)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(f"{folder()}/ca.pem")
    if "any" in options:
        made.verify_mode = ssl.CERT_NONE
    if "ciphers" in options:
        made.set_ciphers(options["ciphers"])
    made.minimum_version = VERSIONS[options.get("min", "1.2")]
    made.maximum_version = VERSIONS[options.get("max", "1.3")]
    if "cert" in options:
        name = options["cert"]
        made.load_cert_chain(f"{folder()}/{name}.pem", f"{folder()}/{name}.key")
    if "alpn" in options:
        made.set_alpn_protocols(options["alpn"].split(","))
    return made


def reason(error):
    """What went wrong, without what differs between versions of Python."""
    text = getattr(error, "reason", None) or str(error)
    return re.sub(r" \(_ssl.*", "", str(text))


def server_context(options):
    """A backend's: `cert=NAME` (localhost), `verify` (asks for a certificate), `alpn=...`, `min=`, `max=`."""
    given = dict(option.partition("=")[::2] for option in options)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = VERSIONS[given.get("min", "1.2")]
    made.maximum_version = VERSIONS[given.get("max", "1.3")]
    name = given.get("cert", "localhost")
    made.load_cert_chain(f"{folder()}/{name}.pem", f"{folder()}/{name}.key")
    if "verify" in given:
        made.verify_mode = ssl.CERT_REQUIRED if given["verify"] == "on" else ssl.CERT_OPTIONAL
        made.load_verify_locations(f"{folder()}/ca.pem")
    if "alpn" in given or "h2" in given:
        made.set_alpn_protocols(given.get("alpn", "h2").split(","))
    if "ciphers" in given:
        made.set_ciphers(given["ciphers"])
    made.sni_callback = lambda sock, name, _: setattr(sock, "asked_name", name)
    return made


def accept(made, sock):
    """The secure socket (or None) and what is to be noted."""
    try:
        secure = made.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
    except (ssl.SSLError, OSError) as error:
        return None, f"tls refused: {reason(error)}"
    return secure, (f"{secure.version()} {secure.cipher()[0]} alpn={secure.selected_alpn_protocol()} "
                    f"name={getattr(secure, 'asked_name', None)} client={common_name(secure)} "
                    f"reused={secure.session_reused}")


def common_name(secure):
    for part in (secure.getpeercert() or {}).get("subject", ()):
        for field, value in part:
            if field == "commonName":
                return value
    return ""


class Handshakes:
    """Of one client: shakes hands, and remembers contexts and sessions for resumption."""

    def __init__(self):
        self.contexts = {}
        self.session = None

    def shake(self, sock, words):
        """The secure socket (or None) and what is to be noted."""
        options = {}
        name = None
        for word in words.split():
            key, equals, value = word.partition("=")
            if not equals and key not in ("resume", "any"):
                name = key
            else:
                options[key] = value
        resume = options.pop("resume", None)
        key = tuple(sorted(options.items()))
        made = self.contexts.setdefault(key, None) or context(options)
        self.contexts[key] = made
        try:
            session = self.session if resume is not None else None
            secure = made.wrap_socket(sock, server_hostname=name, session=session,
                                      suppress_ragged_eofs=False)
        except (ssl.SSLError, OSError) as error:
            return None, f"tls refused: {reason(error)}"
        return secure, (f"{secure.version()} {secure.cipher()[0]} alpn={secure.selected_alpn_protocol()} "
                        f"subject={common_name(secure)} reused={secure.session_reused}")

    def keep(self, sock):
        if isinstance(sock, ssl.SSLSocket):
            self.session = sock.session or self.session
