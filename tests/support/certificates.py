"""Certificates for tests, made with the openssl tool when somebody asks: nothing secret is in the repository.

`make(folder)` fills a folder:

    ca.pem ca.key            a CA, and other_ca.*, which signs nothing of these
    localhost.pem/.key       EC, for localhost, example.com, *.example.com and 127.0.0.1, signed by ca
    rsa.pem/.key             RSA, for the same names
    two.pem/.key             for two.example.com
    client.pem/.key          of a client, signed by ca; expired.pem is over; revoked.pem is on crl.pem
    stranger.pem/.key        of a client, signed by itself
    chain.pem/.key           for localhost, signed by an intermediate, which is in the file
    encrypted.key            localhost.key with the passphrase "secret"; passwords holds it
    crl.pem                  what ca revoked (revoked.pem)
    ticket.key ticket2.key   for session tickets (80 and 48 bytes)
    staple.der client.der revoked.der
                             OCSP responses for localhost.pem, client.pem (good) and revoked.pem
"""

import os
import subprocess

NAMES = "subjectAltName=DNS:localhost,DNS:example.com,DNS:*.example.com,IP:127.0.0.1"


class _Maker:
    def __init__(self, folder):
        self.folder = folder

    def openssl(self, *words, data=None):
        done = subprocess.run(["openssl", *words], cwd=self.folder, input=data, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"openssl {' '.join(words)}: {done.stderr.decode()}")
        return done.stdout

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
            file.write(text)

    def key(self, name, kind="ec"):
        options = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        if kind == "rsa":
            options = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
        self.openssl("genpkey", *options, "-out", f"{name}.key")

    def authority(self, name, common_name):
        self.key(name)
        self.openssl("req", "-x509", "-new", "-key", f"{name}.key", "-out", f"{name}.pem", "-days", "3650",
                     "-subj", f"/O=weir/CN={common_name}", "-set_serial", "1",
                     "-addext", "basicConstraints=critical,CA:TRUE",
                     "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def certificate(self, name, common_name, serial, issuer="ca", extensions="", kind="ec", dates=()):
        if not os.path.exists(os.path.join(self.folder, f"{name}.key")):
            self.key(name, kind)
        self.openssl("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj",
                     f"/O=weir/CN={common_name}")
        self.write(f"{name}.ext", extensions + "\n")
        days = list(dates) or ["-days", "3000"]
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key",
                     "-set_serial", str(serial), "-out", f"{name}.pem", "-extfile", f"{name}.ext", *days)

    def revoke(self):
        index = "V\t400101000000Z\t\t10\tunknown\t/O=weir/CN=localhost\n"
        index += "V\t400101000000Z\t\t21\tunknown\t/O=weir/CN=client\n"
        index += "R\t400101000000Z\t240101000000Z\t23\tunknown\t/O=weir/CN=revoked\n"
        self.write("index.txt", index)
        self.write("ca.cnf", "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\n"
                             "default_crl_days=3000\n")
        self.openssl("ca", "-config", "ca.cnf", "-gencrl", "-keyfile", "ca.key", "-cert", "ca.pem", "-out",
                     "crl.pem")

    def status(self, certificate, response):
        request = ["-issuer", "ca.pem", "-cert", f"{certificate}.pem", "-no_nonce"]
        self.openssl("ocsp", *request, "-reqout", "request.der")
        self.openssl("ocsp", "-index", "index.txt", "-rsigner", "ca.pem", "-rkey", "ca.key", "-CA", "ca.pem",
                     "-reqin", "request.der", "-respout", response, "-ndays", "300")

    def all(self):
        self.authority("ca", "test CA")
        self.authority("other_ca", "another CA")
        self.certificate("localhost", "localhost", 0x10, extensions=NAMES)
        self.certificate("rsa", "localhost", 0x11, extensions=NAMES, kind="rsa")
        self.certificate("two", "two.example.com", 0x12, extensions="subjectAltName=DNS:two.example.com")
        self.certificate("client", "client", 0x21)
        self.key("expired")
        self.certificate("expired", "expired", 0x22, dates=("-days", "-1"))
        self.certificate("revoked", "revoked", 0x23)
        self.authority("stranger", "stranger")
        self.certificate("middle", "intermediate", 0x30, extensions="basicConstraints=critical,CA:TRUE")
        self.certificate("chain", "localhost", 0x31, issuer="middle", extensions=NAMES)
        self.write("chain.pem", self.read("chain.pem") + self.read("middle.pem"))
        self.openssl("ec", "-aes128", "-passout", "pass:secret", "-in", "localhost.key", "-out", "encrypted.key")
        self.write("passwords", "wrong\nsecret\n")
        self.revoke()
        self.status("localhost", "staple.der")
        self.status("client", "client.der")
        self.status("revoked", "revoked.der")
        for name, size in (("ticket.key", 80), ("ticket2.key", 48)):
            with open(os.path.join(self.folder, name), "wb") as file:
                file.write(bytes((index * 7 + size) % 256 for index in range(size)))

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="ascii") as file:
            return file.read()


def make(folder):
    os.makedirs(folder, exist_ok=True)
    _Maker(folder).all()
    return folder
