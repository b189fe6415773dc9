#pragma once

#include <string>

#include "confparse/worlds.h"

// Certificates for tests, made in memory: nothing secret is in the repository.
namespace tls_test {

struct Pair {
  std::string certificate;  // PEM
  std::string key;
};

struct Options {
  std::string name = "localhost";
  const Pair* issuer = nullptr;  // null: signed by itself
  bool authority = false;
  long serial = 1;
  int days = 30;  // negative: over
};
Pair make_pair(const Options& options);
// The key with a passphrase.
std::string encrypted(const Pair& pair, const std::string& passphrase);

}  // namespace tls_test
