#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

// What the load generator and the backend agree on. A target ends with "/b" and the size of the
// body that is wanted; the byte at position i of every body is pattern_byte(i), so both sides can
// check it.
namespace weir::bench {

inline constexpr size_t kLargestBody = size_t{4} << 20;

inline char pattern_byte(size_t position) {
  return static_cast<char>(position % 251);
}

inline std::string make_pattern() {
  std::string pattern(kLargestBody, '\0');
  for (size_t i = 0; i < pattern.size(); ++i) pattern[i] = pattern_byte(i);
  return pattern;
}

// The size that a target asks for; 0 when it names none.
inline size_t wanted_size(std::string_view target) {
  const size_t mark = target.rfind("/b");
  if (mark == std::string_view::npos) return 0;
  size_t size = 0;
  for (const char c : target.substr(mark + 2)) {
    if (c < '0' || c > '9') break;
    size = size * 10 + static_cast<size_t>(c - '0');
    if (size > kLargestBody) return 0;
  }
  return size;
}

inline void watch(int epoll, int descriptor, uint32_t events, void* data, bool again = false) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = data;
  if (epoll_ctl(epoll, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, &event) != 0) abort();
}

}  // namespace weir::bench
