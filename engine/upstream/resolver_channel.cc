#include "engine/upstream/resolver_channel.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <sys/epoll.h>
#include <sys/time.h>

namespace weir::upstream {

// A socket of c-ares, watched as it says.
struct ResolverChannel::Watched {
  explicit Watched(ResolverChannel& channel) : channel(channel), watcher(&Watched::ready, this) {}
  static void ready(void* owner, uint32_t events) {
    auto& watched = *static_cast<Watched*>(owner);
    watched.channel.process(watched.watcher.descriptor(), events);
  }
  ResolverChannel& channel;
  Watcher watcher;
};

ResolverChannel::ResolverChannel(Loop& loop, const std::string& servers, bool as_the_system)
    : loop_(loop), timer_(&ResolverChannel::timed_out, this) {
  ares_library_init(ARES_LIB_INIT_ALL);
  ares_options setup{};
  setup.timeout = 2000;
  setup.tries = 8;  // resolver_timeout comes first
  setup.sock_state_cb = &ResolverChannel::socket_state;
  setup.sock_state_cb_data = this;
  char none[] = "b";
  int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_ROTATE;
  if (!as_the_system) {
    setup.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
    setup.lookups = none;  // DNS only, no hosts file
    mask |= ARES_OPT_FLAGS | ARES_OPT_LOOKUPS;
  }
  usable_ = !servers.empty() && ares_init_options(&channel_, &setup, mask) == ARES_SUCCESS &&
            ares_set_servers_ports_csv(channel_, servers.c_str()) == ARES_SUCCESS;
}

ResolverChannel::~ResolverChannel() {
  if (channel_) ares_destroy(channel_);
  ares_library_cleanup();
}

void ResolverChannel::ask(const std::string& name, int type, Answered answered, void* argument) {
  ares_query(channel_, name.c_str(), ns_c_in, type, answered, argument);
  after();
}

void ResolverChannel::look_up(const std::string& name, Found found, void* argument) {
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  ares_getaddrinfo(channel_, name.c_str(), nullptr, &hints, found, argument);
  after();
}

void ResolverChannel::socket_state(void* self, ares_socket_t descriptor, int read, int write) {
  static_cast<ResolverChannel*>(self)->watch(descriptor, read, write);
}

void ResolverChannel::watch(int descriptor, bool read, bool write) {
  if (!read && !write) {
    const auto at = sockets_.find(descriptor);
    if (at == sockets_.end()) return;
    at->second->watcher.close();
    // c-ares may call from inside of a watcher's own callback.
    finished_.push_back(std::move(at->second));
    sockets_.erase(at);
    return;
  }
  const uint32_t events = (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u);
  auto& slot = sockets_[descriptor];
  if (!slot) {
    slot = std::make_unique<Watched>(*this);
    (void)slot->watcher.open(loop_, descriptor, events);
  } else {
    (void)slot->watcher.change(events);
  }
}

void ResolverChannel::process(int descriptor, uint32_t events) {
  const bool readable = events & (EPOLLIN | EPOLLERR | EPOLLHUP);
  const bool writable = events & EPOLLOUT;
  ares_process_fd(channel_, readable ? descriptor : ARES_SOCKET_BAD,
                  writable ? descriptor : ARES_SOCKET_BAD);
  after();
}

void ResolverChannel::timed_out(void* self) {
  auto& channel = *static_cast<ResolverChannel*>(self);
  ares_process_fd(channel.channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  channel.after();
}

void ResolverChannel::after() {
  timeval most{5, 0};
  timeval wait{};
  timeval* next = ares_timeout(channel_, &most, &wait);
  if (sockets_.empty()) {
    timer_.cancel();
  } else {
    timer_.arm(loop_, static_cast<uint64_t>(next->tv_sec) * 1000 +
                          static_cast<uint64_t>(next->tv_usec) / 1000 + 1);
  }
  finished_.clear();
}

}  // namespace weir::upstream
