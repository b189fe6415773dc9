#include "engine/tls/files.h"

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>

#include "engine/tls/error.h"

namespace weir::tls {
namespace {

// Parsed objects in use, by the digest of what they were parsed from.
template <class T>
class Parsed {
 public:
  template <class Parse>
  std::shared_ptr<const T> find_or(const std::string& digest, Parse parse) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto& known = objects_[digest];
    if (auto found = known.lock()) return found;
    std::shared_ptr<T> made = parse();
    if (!made) {
      objects_.erase(digest);
      return nullptr;
    }
    made->digest = digest;
    known = made;
    // Now and then, what nobody uses any more goes.
    if (++made_ % 64 == 0) std::erase_if(objects_, [](auto& e) { return e.second.expired(); });
    return made;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<const T>> objects_;
  size_t made_ = 0;
};

// Never destroyed: contexts may outlive main's statics.
template <class T>
Parsed<T>& parsed() {
  static auto& table = *new Parsed<T>();
  return table;
}

void raise_open_failure(const std::string& path, const char* mode, int error) {
  ERR_raise_data(ERR_LIB_SYS, error, "calling fopen(%s, %s)", path.c_str(), mode);
  if (error == ENOENT || error == ENXIO) {
    ERR_raise(ERR_LIB_BIO, BIO_R_NO_SUCH_FILE);
  } else {
    ERR_raise(ERR_LIB_BIO, ERR_R_SYS_LIB);
  }
}

// The bytes behind a name: "data:…" or a file.
bool read_named(conf::World& world, const std::string& name, std::string& out,
                std::string& problem) {
  if (name.starts_with("data:")) {
    out = name.substr(5);
    return true;
  }
  if (read_for_openssl(world, name, "r", out)) return true;
  problem = "BIO_new_file() failed" + take_errors();
  return false;
}

bool is_end_of_pem() {
  const unsigned long error = ERR_peek_last_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

std::shared_ptr<CertificateChain> parse_certificate(std::string_view bytes, std::string& problem) {
  const Bio bio = memory_of(bytes);
  auto chain = std::make_shared<CertificateChain>();
  chain->leaf.reset(PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr));
  if (!chain->leaf) {
    problem = "PEM_read_bio_X509_AUX() failed" + take_errors();
    return nullptr;
  }
  for (;;) {
    X509Pointer next(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (next) {
      chain->rest.push_back(std::move(next));
      continue;
    }
    if (is_end_of_pem()) {
      ERR_clear_error();
      return chain;
    }
    problem = "PEM_read_bio_X509() failed" + take_errors();
    return nullptr;
  }
}

std::vector<std::string> split_passwords(std::string_view text) {
  std::vector<std::string> passwords;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) passwords.emplace_back(line);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return passwords;
}

struct Passphrase {
  const std::string* text;  // null: none is known
  bool asked = false;
};

int give_passphrase(char* to, int size, int writing, void* data) {
  auto& passphrase = *static_cast<Passphrase*>(data);
  passphrase.asked = true;
  if (writing != 0 || passphrase.text == nullptr) return 0;
  const size_t length = std::min(passphrase.text->size(), static_cast<size_t>(size));
  std::memcpy(to, passphrase.text->data(), length);
  return static_cast<int>(length);
}

Key parse_key(std::string_view bytes, const std::vector<std::string>& passwords) {
  ERR_clear_error();
  size_t index = 0;
  for (;;) {
    const Bio bio = memory_of(bytes);
    Passphrase passphrase{index < passwords.size() ? &passwords[index] : nullptr};
    Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, give_passphrase, &passphrase));
    if (key) {
      ERR_clear_error();
      return key;
    }
    if (!passphrase.asked || ++index >= passwords.size()) return nullptr;
    ERR_clear_error();
  }
}

std::string plain_key_text(EVP_PKEY* key) {
  const Bio out = new_memory();
  PEM_write_bio_PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return text_of(out);
}

// In the master: the key without its passphrase.
conf::Answer<std::string> decrypt_key(conf::World& world, const std::string& name,
                                      const std::string& password_file, std::string& problem) {
  conf::Answer<std::string> answer;
  std::string bytes;
  if (!read_named(world, name, bytes, problem)) {
    answer.error = EIO;
    return answer;
  }
  std::vector<std::string> passwords;
  if (!password_file.empty()) {
    auto text = world.read_file(password_file);
    if (text.ok()) passwords = split_passwords(text.value);
    OPENSSL_cleanse(text.value.data(), text.value.size());
  }
  const Key key = parse_key(bytes, passwords);
  for (std::string& password : passwords) OPENSSL_cleanse(password.data(), password.size());
  if (!key) {
    problem = "PEM_read_bio_PrivateKey() failed" + take_errors();
    answer.error = EIO;
    return answer;
  }
  OPENSSL_cleanse(bytes.data(), bytes.size());
  answer.value = plain_key_text(key.get());
  return answer;
}

std::shared_ptr<Authorities> parse_authorities(std::string_view bytes) {
  const Bio bio = memory_of(bytes);
  STACK_OF(X509_INFO)* entries = PEM_X509_INFO_read_bio(bio.get(), nullptr, nullptr, nullptr);
  if (entries == nullptr) return nullptr;
  auto authorities = std::make_shared<Authorities>();
  for (int i = 0; i < sk_X509_INFO_num(entries); ++i) {
    X509_INFO* entry = sk_X509_INFO_value(entries, i);
    if (entry->x509 != nullptr) {
      X509_up_ref(entry->x509);
      authorities->certificates.emplace_back(entry->x509);
    }
    if (entry->crl != nullptr) {
      X509_CRL_up_ref(entry->crl);
      authorities->lists.emplace_back(entry->crl);
    }
  }
  sk_X509_INFO_pop_free(entries, X509_INFO_free);
  if (authorities->certificates.empty() && authorities->lists.empty()) {
    ERR_raise(ERR_LIB_X509, X509_R_NO_CERTIFICATE_OR_CRL_FOUND);
    return nullptr;
  }
  return authorities;
}

}  // namespace

bool read_for_openssl(conf::World& world, const std::string& path, const char* mode,
                      std::string& out) {
  ERR_clear_error();
  auto answer = world.read_file(path);
  if (!answer.ok()) {
    raise_open_failure(path, mode, answer.error);
    return false;
  }
  out = std::move(answer.value);
  return true;
}

std::shared_ptr<const CertificateChain> load_certificate(conf::World& world,
                                                         const std::string& name,
                                                         std::string& problem) {
  std::string bytes;
  std::string reason;
  if (read_named(world, name, bytes, reason)) {
    auto chain = parsed<CertificateChain>().find_or(
        digest_of(bytes), [&] { return parse_certificate(bytes, reason); });
    if (chain) return chain;
  }
  problem = "cannot load certificate \"" + name + "\": " + reason;
  return nullptr;
}

std::shared_ptr<const PrivateKey> load_key(conf::World& world, const std::string& name,
                                           const std::string& passwords, std::string& problem) {
  std::string reason = "it was not recorded";
  auto text = world.derive(
      name, [&](conf::World& outside) { return decrypt_key(outside, name, passwords, reason); });
  if (text.ok()) {
    auto key = parsed<PrivateKey>().find_or(digest_of(text.value), [&] {
      auto made = std::make_shared<PrivateKey>();
      made->key = parse_key(text.value, {});
      if (!made->key) made.reset();
      return made;
    });
    OPENSSL_cleanse(text.value.data(), text.value.size());
    if (key) return key;
    reason = "PEM_read_bio_PrivateKey() failed" + take_errors();
  }
  problem = "cannot load certificate key \"" + name + "\": " + reason;
  return nullptr;
}

std::shared_ptr<const Authorities> load_authorities(conf::World& world, const std::string& path,
                                                    const char* call, std::string& problem) {
  std::string bytes;
  if (read_for_openssl(world, path, "r", bytes)) {
    auto found =
        parsed<Authorities>().find_or(digest_of(bytes), [&] { return parse_authorities(bytes); });
    if (found) return found;
  } else {
    ERR_raise(ERR_LIB_X509, ERR_R_SYS_LIB);
  }
  problem = std::string(call) + "(\"" + path + "\") failed" + take_errors();
  return nullptr;
}

int check_password_file(conf::World& world, const std::string& path) {
  const auto answer = world.derive("password file " + path, [&](conf::World& outside) {
    auto text = outside.read_file(path);
    OPENSSL_cleanse(text.value.data(), text.value.size());
    text.value.clear();
    return text;
  });
  return answer.error;
}

}  // namespace weir::tls
