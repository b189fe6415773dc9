#pragma once

#include <nghttp2/nghttp2.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "tools/bench/wire.h"

// What the HTTP/2 load generator and the gRPC backend share: one cleartext connection, its nghttp2
// session and the bytes that the socket did not take yet.
namespace weir::bench {

inline constexpr int32_t kWindow = 1 << 24;

struct Link {
  int descriptor = -1;
  nghttp2_session* session = nullptr;
  std::string output;
  bool waits_for_room = false;
};

// The first frames of either side: wide windows, so that flow control costs nobody anything.
inline void open_link(Link& link) {
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow},
                                             {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000}};
  nghttp2_submit_settings(link.session, NGHTTP2_FLAG_NONE, settings, 2);
  nghttp2_session_set_local_window_size(link.session, NGHTTP2_FLAG_NONE, 0, kWindow);
}

// Sends all that the session has to say; false when the connection is gone.
inline bool send_all(Link& link, int epoll) {
  for (;;) {
    while (link.output.size() < (size_t{64} << 10)) {
      const uint8_t* bytes = nullptr;
      const ssize_t count = nghttp2_session_mem_send(link.session, &bytes);
      if (count < 0) return false;
      if (count == 0) break;
      link.output.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
    }
    const bool all = link.output.empty();
    ssize_t count = 0;
    if (!all) count = send(link.descriptor, link.output.data(), link.output.size(), MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN) return false;
    if (count > 0) link.output.erase(0, static_cast<size_t>(count));
    const bool full = count < 0;
    if (link.waits_for_room != full) {
      link.waits_for_room = full;
      watch(epoll, link.descriptor, full ? EPOLLIN | EPOLLOUT : EPOLLIN, &link, true);
    }
    if (all || full) return true;
  }
}

inline nghttp2_nv field(std::string_view name, std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

inline std::string_view text(const uint8_t* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace weir::bench
