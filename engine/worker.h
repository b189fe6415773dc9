#pragma once

#include <cstdint>
#include <functional>

#include "confparse/ref.h"
#include "engine/event/loop.h"
#include "engine/generation.h"
#include "engine/log/error_log.h"
#include "engine/log/log_table.h"

namespace weir {

class AccessSinks;

namespace net {
class Address;
struct PassedConnection;
}  // namespace net

namespace upstream {
class Runtime;
}

// What one worker process (or the single process) has: made after the fork, alive until exit.
struct Worker {
  Loop& loop;
  LogTable& logs;
  ErrorLog& error_log;
  // Weights, failures, connection pools, resolved names: keyed by value, outlives generations.
  upstream::Runtime& upstreams;
  // The one in force for new requests.
  Ref<Generation> generation = {};
  uint64_t next_connection_serial = 1;
  uint32_t connections = 0;  // open now, client and upstream; bounded by connection_limit
  uint32_t connection_limit = 512;
  bool draining = false;  // QUIT or replaced: answer with Connection: close
  uint32_t slot = 0;      // worker number, for reuseport
  uint64_t next_temp_file = 1;
  AccessSinks* access_sinks = nullptr;  // outlives generations; null where nothing is logged
  // Ends idle client connections, those first that have been idle for longest.
  std::function<void()> make_room = {};

  // Gives a client connection to whoever listens on this address: `take` is called then, once.
  // False: nobody does.
  std::function<bool(const net::Address& listening,
                     const std::function<net::PassedConnection()>& take)>
      pass_connection = {};

  // Is there room for one more connection? When little is left, idle ones make some first.
  bool has_room() {
    if (connections + connection_limit / 16 >= connection_limit && make_room) make_room();
    return connections < connection_limit;
  }
};

}  // namespace weir
