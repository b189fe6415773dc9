#pragma once

#include <ctime>
#include <memory>
#include <string>

#include "engine/tls/ocsp.h"

namespace weir::tls {

// The OCSP response that goes with one certificate: from a file, or asked for when a client wants
// it, so that the next one gets it. Kept until it is over; used on the loop's thread only.
class Staple {
 public:
  explicit Staple(std::string from_file) : response_(std::move(from_file)), fixed_(true) {}
  Staple(Responder responder, X509* certificate, X509* issuer, OcspTrust trust);
  ~Staple();

  X509* certificate() const { return certificate_.get(); }
  // What may be sent now; empty: nothing. Asks for a fresh one when it is time.
  const std::string& response(Loop& loop);

 private:
  static void answered(void* self, OcspAnswer& answer);
  void take(OcspAnswer& answer);

  std::string response_;
  Responder responder_;
  X509Pointer certificate_;
  X509Pointer issuer_;
  OcspTrust trust_;
  std::unique_ptr<OcspQuery> query_;
  time_t valid_until_ = 0;
  time_t refresh_at_ = 0;
  bool fixed_ = false;
};

}  // namespace weir::tls
