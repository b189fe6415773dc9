#include "engine/http/connection_facts.h"

namespace weir::http {

const net::Address& ConnectionFacts::local() const {
  if (!local_) local_ = std::make_unique<net::Address>(net::Address::local_of(descriptor));
  return *local_;
}

}  // namespace weir::http
