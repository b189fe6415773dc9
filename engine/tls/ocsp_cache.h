#pragma once

#include <ctime>
#include <optional>
#include <string_view>

#include "engine/tls/ocsp.h"
#include "engine/zone/zone.h"

// ssl_ocsp_cache: what responders said of client certificates, until when, for all workers.
namespace weir::tls::ocsp_cache {

std::optional<OcspAnswer::Status> find(const zone::Zone& zone, std::string_view key, time_t now);
void add(const zone::Zone& zone, std::string_view key, OcspAnswer::Status status, time_t until);

}  // namespace weir::tls::ocsp_cache
