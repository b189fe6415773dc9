#include "engine/tls/context.h"

#include <catch2/catch.hpp>

#include "engine/tls/material_checks.h"
#include "tests/engine/tls/rig.h"

using namespace tls_test;
using tls::ServerOptions;

TEST_CASE("the same options with the same files make the same context", "[tls]") {
  Files& files = Files::get();
  const auto first = files.make(files.server_options());
  REQUIRE(first);
  CHECK(files.make(files.server_options()) == first);
  ServerOptions other = files.server_options();
  other.session_timeout = 17;
  CHECK(files.make(other) != first);
  CHECK(files.make(other)->policy_digest() == first->policy_digest());
  other.verify = tls::ClientVerification::optional_no_ca;
  CHECK(files.make(other)->policy_digest() != first->policy_digest());
}

TEST_CASE("what is wrong with files is said in nginx's words", "[tls]") {
  Files& files = Files::get();
  ServerOptions options = files.server_options();
  files.world.add_file("/text", "nothing of the kind\n");
  SECTION("no certificate file") {
    options.credentials[0].certificate = "/none.pem";
    CHECK_FALSE(files.make(options));
    CHECK(files.problem() ==
          "cannot load certificate \"/none.pem\": BIO_new_file() failed (SSL: "
          "error:80000002:system library::No such file or directory:calling fopen(/none.pem, r) "
          "error:10000080:BIO routines::no such file)");
  }
  SECTION("no certificate in it") {
    options.credentials[0].certificate = "/text";
    CHECK_FALSE(files.make(options));
    CHECK(files.problem() ==
          "cannot load certificate \"/text\": PEM_read_bio_X509_AUX() failed (SSL: "
          "error:0480006C:PEM routines::no start line:Expecting: TRUSTED CERTIFICATE)");
  }
  SECTION("another's key") {
    options.credentials[0].key = "/two.key";
    CHECK_FALSE(files.make(options));
    CHECK(files.problem() ==
          "SSL_CTX_use_PrivateKey(\"/two.key\") failed (SSL: error:05800074:x509 certificate "
          "routines::key values mismatch)");
  }
  SECTION("unknown cipher") {
    options.ciphers = "FOO";
    CHECK_FALSE(files.make(options));
    CHECK(files.problem() ==
          "SSL_CTX_set_cipher_list(\"FOO\") failed (SSL: error:0A0000B9:SSL routines::no cipher "
          "match)");
  }
  SECTION("unknown command") {
    options.commands = {{"Foo", "bar"}};
    CHECK_FALSE(files.make(options));
    CHECK(files.problem() ==
          "SSL_CONF_cmd(\"Foo\", \"bar\") failed (SSL: error:0A000182:SSL routines::unknown cmd "
          "name:cmd=Foo)");
  }
  SECTION("no CRL") {
    options.crl = "/text";
    CHECK_FALSE(files.make(options));
    CHECK(files.problem() ==
          "X509_LOOKUP_load_file(\"/text\") failed (SSL: error:05800088:x509 certificate "
          "routines::no certificate or crl found)");
  }
}

TEST_CASE("keys with passphrases are opened by the password file", "[tls]") {
  Files& files = Files::get();
  files.world.add_file("/locked.key", encrypted(files.server, "open sesame"));
  files.world.add_file("/passwords", "one\nopen sesame\nthree\n");
  files.world.add_file("/wrong", "one\n");
  ServerOptions options = files.server_options();
  options.credentials[0].key = "/locked.key";
  options.password_file = "/passwords";
  CHECK(files.make(options));
  options.password_file = "/wrong";
  CHECK_FALSE(files.make(options));
  CHECK(files.problem().find("cannot load certificate key \"/locked.key\": "
                             "PEM_read_bio_PrivateKey() failed (SSL: error:") == 0);
}

namespace {

// The files of a world, through the recording one: what the master does.
struct Disk final : conf::RealWorld {
  Disk(conf::World& files, conf::Bundle& bundle)
      : RealWorld(&bundle), files(files), bundle(bundle) {}
  conf::Answer<std::string> read_file(const std::string& path) override {
    auto answer = files.read_file(path);
    if (answer.ok()) read.push_back(path);
    bundle.record("f" + path, std::string());
    return answer;
  }
  conf::Answer<std::string> derive(const std::string& question, const Make& make) override {
    asked.push_back(question);
    return make(files);
  }
  conf::World& files;
  conf::Bundle& bundle;
  std::vector<std::string> read;
  std::vector<std::string> asked;
};

}  // namespace

TEST_CASE("keys and passphrases are not among the files that are recorded", "[tls]") {
  Files& files = Files::get();
  files.world.add_file("/locked2.key", encrypted(files.server, "secret"));
  files.world.add_file("/passwords2", "secret\n");
  conf::Bundle bundle;
  Disk disk(files.world, bundle);
  ServerOptions options = files.server_options();
  options.credentials[0].key = "/locked2.key";
  options.password_file = "/passwords2";
  options.session_timeout = 4711;
  tls::Problems problems;
  REQUIRE(tls::ServerContext::make(disk, options, problems));
  CHECK(disk.read == std::vector<std::string>{"/server.pem"});
  CHECK(disk.asked[0] == "/locked2.key");
}

TEST_CASE("commands that name files are known", "[tls]") {
  CHECK(tls::takes_file("DHParameters"));
  CHECK_FALSE(tls::takes_file("Options"));
}
