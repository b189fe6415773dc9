#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::tls {

// Sessions of servers, by id: `ssl_session_cache shared:name:size`. All servers that name it use
// the same one.
class SessionStore {
 public:
  // nginx's limit: longer sessions are not kept.
  static constexpr size_t kLargestSession = 4096;

  virtual ~SessionStore() = default;
  // `expires`: seconds since the epoch.
  virtual void add(std::string_view id, std::string_view session, int64_t expires) = 0;
  // Empty: not there, or over.
  virtual std::string find(std::string_view id) = 0;
  virtual void remove(std::string_view id) = 0;

  // The one of this name, as this worker knows it.
  static SessionStore& named(const std::string& name, size_t size);
};

}  // namespace weir::tls
