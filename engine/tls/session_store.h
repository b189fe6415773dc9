#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/zone/zone.h"

// Sessions of servers, by id, in a zone that all workers share: `ssl_session_cache
// shared:name:size`. All servers that name it use the same one. Expired ones make room, then the
// oldest.
namespace weir::tls::session_store {

// nginx's limit: longer sessions are not kept.
inline constexpr size_t kLargestSession = 4096;

// `expires`: seconds since the epoch.
void add(const zone::Zone& zone, std::string_view id, std::string_view session, int64_t expires);
// Empty: not there, or over at `now`.
std::string find(const zone::Zone& zone, std::string_view id, int64_t now);
void remove(const zone::Zone& zone, std::string_view id);

}  // namespace weir::tls::session_store
