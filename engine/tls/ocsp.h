#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/world.h"
#include "engine/event/loop.h"
#include "engine/event/timer.h"
#include "engine/net/address.h"
#include "engine/net/stream.h"
#include "engine/tls/native.h"

// Questions to OCSP responders (RFC 6960), over HTTP. For this room's own files only.
namespace weir::tls {

struct Responder {
  std::string host;  // for the Host field
  std::string name;  // without the port
  std::string uri = "/";
  uint16_t port = 80;
  std::vector<net::Address> addresses;  // empty: `name` is looked up when it is asked
};

// Reads "http://host[:port][/uri]". False: `problem` is nginx's "invalid URL prefix", "host not
// found", … With a world the name is resolved, without (responders that certificates name) not.
bool parse_responder(conf::World* world, std::string_view url, Responder& out,
                     std::string& problem);
// The URL in a certificate; empty: none.
std::string responder_in(X509* certificate);

struct OcspAnswer {
  enum class Status : uint8_t { good, revoked, unknown, failed };
  Status status = Status::failed;
  std::string response;  // DER
  std::string problem;   // of `failed`: for the log
  time_t valid_until = 0;
};
const char* status_text(OcspAnswer::Status status);

// What makes an answer believable.
struct OcspTrust {
  X509_STORE* store = nullptr;
  STACK_OF(X509) * chain = nullptr;
  bool verify = true;
};

// Reads a response about `certificate`.
OcspAnswer read_ocsp_response(std::string_view der, X509* certificate, X509* issuer,
                              const OcspTrust& trust);

// One question, to the responder's addresses in turn. Tells `done` once, perhaps from inside
// start(); destroyed earlier it never does. `done` may destroy it.
class OcspQuery final : private SocketHandler {
 public:
  static constexpr size_t kLargestAnswer = 64 * 1024;
  static constexpr uint64_t kTimeout = 60'000;
  using Done = void (*)(void* owner, OcspAnswer& answer);

  OcspQuery(Loop& loop, Responder responder, X509* certificate, X509* issuer, OcspTrust trust,
            Done done, void* owner);
  ~OcspQuery();
  OcspQuery(const OcspQuery&) = delete;
  OcspQuery& operator=(const OcspQuery&) = delete;
  void start();

 private:
  struct Lookup;
  void on_readable() override;
  void on_writable() override;
  static void timed_out(void* self);
  void look_up();
  void connect();
  void next_address(std::string problem);
  bool make_request();
  void send();
  void read_answer();
  void finish(OcspAnswer answer);
  void fail(std::string problem);

  Loop& loop_;
  Responder responder_;
  X509Pointer certificate_;
  X509Pointer issuer_;
  OcspTrust trust_;
  Done done_;
  void* owner_;
  Timer timer_;
  net::Stream stream_;
  std::shared_ptr<Lookup> lookup_;
  size_t address_ = 0;
  std::string request_;
  size_t sent_ = 0;
  std::string answer_;
  bool connecting_ = false;
};

}  // namespace weir::tls
