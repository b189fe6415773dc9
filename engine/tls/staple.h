#pragma once

#include <string>

#include "engine/tls/native.h"

namespace weir::tls {

// The OCSP response that goes with one certificate.
class Staple {
 public:
  std::string response;  // DER; empty: nothing to staple
};

}  // namespace weir::tls
