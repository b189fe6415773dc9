#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/tls/ocsp.h"
#include "engine/tls/options.h"

namespace weir::tls {

class ServerContext;

// ssl_ocsp: asks about the certificates of a client, one after the other. Answers are remembered
// by this worker until they are over.
class ClientOcsp {
 public:
  using Done = void (*)(void* owner);
  // The chain as it was verified, leaf first; its last certificate is trusted as it is.
  ClientOcsp(Loop& loop, const ServerContext& context, std::vector<X509Pointer> chain, Done done,
             void* owner);
  // Asks the next question; true when nothing is left to be asked. `done` tells later that it is
  // worth calling again.
  bool advance();
  // Empty: all is well; else what $ssl_client_verify says after "FAILED:".
  const std::string& problem() const { return problem_; }

 private:
  static void answered(void* self, OcspAnswer& answer);
  void judge(OcspAnswer::Status status);
  bool ask();

  Loop& loop_;
  const ServerContext& context_;
  std::vector<X509Pointer> chain_;
  Done done_;
  void* owner_;
  std::unique_ptr<OcspQuery> query_;
  std::string key_;
  size_t at_ = 0;
  size_t count_ = 0;
  std::string problem_;
  bool starting_ = false;
};

}  // namespace weir::tls
