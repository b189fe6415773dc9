#pragma once

#include <cstdint>

namespace weir {

class Loop;

// Watches a descriptor that is not a Socket: a listening or datagram socket, a resolver's socket, a
// pipe to the master. Level-triggered unless EPOLLET is among the events. Does not own the
// descriptor, which must stay open until close() or the destructor. Not copyable, not movable.
class Watcher {
 public:
  // Called from the loop's top level with EPOLL* bits; may destroy the Watcher.
  using Ready = void (*)(void* owner, uint32_t events);
  Watcher(Ready ready, void* owner) : ready_(ready), owner_(owner) {}
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  ~Watcher() { close(); }

  // 0 or an errno. EPOLLEXCLUSIVE is allowed; such a watch cannot be changed, only closed.
  int open(Loop& loop, int descriptor, uint32_t events);
  int change(uint32_t events);
  void close();
  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }

 private:
  friend class Loop;
  Ready ready_;
  void* owner_;
  Loop* loop_ = nullptr;
  int descriptor_ = -1;
  uint32_t place_ = 0;  // in the batch under way, from 1; 0: none
};

}  // namespace weir
