#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/event/loop.h"
#include "engine/event/timer.h"
#include "engine/event/watcher.h"

struct ares_channeldata;
struct ares_addrinfo;

namespace weir::upstream {

// c-ares with one set of name servers, on a loop. Answers come as c-ares gives them: from the
// loop's top level, from inside ask() and look_up(), or (ARES_EDESTRUCTION) from the destructor.
class ResolverChannel {
 public:
  // `servers` comma separated, with ports. `as_the_system`: the hosts file and the search domains
  // of the system count too.
  ResolverChannel(Loop& loop, const std::string& servers, bool as_the_system);
  ~ResolverChannel();
  ResolverChannel(const ResolverChannel&) = delete;
  ResolverChannel& operator=(const ResolverChannel&) = delete;

  bool usable() const { return usable_; }
  using Answered = void (*)(void* argument, int status, int timeouts, unsigned char* data,
                            int size);
  void ask(const std::string& name, int type, Answered answered, void* argument);
  using Found = void (*)(void* argument, int status, int timeouts, ares_addrinfo* found);
  // Addresses of both kinds, as the system would find them.
  void look_up(const std::string& name, Found found, void* argument);

 private:
  struct Watched;
  static void socket_state(void* self, int descriptor, int read, int write);
  static void timed_out(void* self);
  void watch(int descriptor, bool read, bool write);
  void process(int descriptor, uint32_t events);
  void after();

  Loop& loop_;
  ares_channeldata* channel_ = nullptr;
  bool usable_ = false;
  std::unordered_map<int, std::unique_ptr<Watched>> sockets_;
  std::vector<std::unique_ptr<Watched>> finished_;
  Timer timer_;
};

}  // namespace weir::upstream
