#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/event/loop.h"
#include "engine/generation.h"
#include "engine/http/core_settings.h"
#include "engine/http/graph.h"
#include "engine/http/request.h"
#include "engine/http/session.h"
#include "engine/log/error_log.h"
#include "engine/log/log_table.h"
#include "engine/upstream/runtime.h"
#include "engine/worker.h"
#include "tests/support/loopback.h"

namespace weir::http::test {

// nginx's defaults, as the directives would set them.
inline void set_defaults(conf::Scope& scope) {
  auto& core = scope.write<CoreSettings>();
  core.client_max_body_size.value = 1 << 20;
  core.client_body_buffer_size.value = 16384;
  core.client_body_timeout.value = 60000;
  core.keepalive_timeout.value = 75000;
  core.keepalive_time.value = 3600000;
  core.keepalive_requests.value = 1000;
  core.lingering_time.value = 30000;
  core.lingering_timeout.value = 5000;
  core.send_timeout.value = 60000;
  core.postpone_output.value = 1460;
  core.sendfile_max_chunk.value = 2 << 20;
  core.subrequest_output_buffer_size.value = 4096;
  core.output_buffer_size.value = 32768;
  core.default_type = "text/plain";
  core.server_tokens = ServerTokens::off;
  auto& server = scope.write<ServerSettings>();
  server.client_header_timeout.value = 60000;
}

// One worker with a graph made by hand: a default server, and locations with a handler each.
struct Rig {
  explicit Rig(CodecFactory factory = nullptr) : factory_(factory) { make_generation(); }
  ~Rig() { sessions.reset(); }

  void make_generation() {
    auto generation = make_ref<Generation>();
    generation->number = ++generation_number;
    generation->root = std::make_unique<conf::Scope>(conf::kMain, nullptr);
    generation->http = std::make_unique<Graph>();
    Graph& graph = *generation->http;
    graph.scope = std::make_unique<conf::Scope>(conf::kHttp, generation->root.get());
    set_defaults(*graph.scope);
    auto made = std::make_unique<VirtualServer>();
    made->names.push_back("test");
    made->scope = std::make_unique<conf::Scope>(conf::kServer, graph.scope.get());
    auto listening = std::make_unique<Listener>();
    listening->default_server = made.get();
    listening->options.address = *net::Address::parse("127.0.0.1:80");
    net::ListenOptions options = listening->options;
    generation->resources.listeners.push_back({options, true});
    server = made.get();
    listener = listening.get();
    graph.servers.push_back(std::move(made));
    graph.listeners.push_back(std::move(listening));
    worker.generation = generation;
  }
  Graph& graph() { return *worker.generation->http; }
  // Of the server, and of the locations that share them.
  CoreSettings& core() { return const_cast<CoreSettings&>(server->scope->get<CoreSettings>()); }

  Location& add(const std::string& name, PhaseHandler handler,
                Location::Kind kind = Location::Kind::prefix) {
    auto location = std::make_unique<Location>();
    location->name = name;
    location->kind = kind;
    location->content_handler = handler;
    location->server = server;
    location->scope = std::make_unique<conf::Scope>(conf::kLocation, server->scope.get());
    Location& added = *location;
    if (kind == Location::Kind::named) {
      server->named_locations.emplace(added.name, &added);
      named.push_back(std::move(location));
    } else {
      server->locations.add(std::move(location));
    }
    return added;
  }
  static CoreSettings& settings(Location& location) {
    return location.scope->write<CoreSettings>();
  }

  void begin() {
    server->locations.finish();
    sessions = std::make_unique<Sessions>(worker, factory_);
  }
  void run(int rounds = 20) {
    for (int i = 0; i < rounds; ++i) loop.run_once(0);
  }

  CodecFactory factory_;
  Loop loop;
  LogTable logs;
  ErrorLog error_log{logs};
  uint64_t generation_number = 0;
  std::vector<std::unique_ptr<Location>> named;
  VirtualServer* server = nullptr;
  Listener* listener = nullptr;

  // The worker and the run-time state of upstreams refer to one another.
  Worker worker{loop, logs, error_log, upstreams, {}};
  upstream::Runtime upstreams{worker};
  std::unique_ptr<Sessions> sessions;
};

// A client of the rig, over a socket pair.
struct Client {
  explicit Client(Rig& rig) : rig(rig) {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    descriptor = pair[0];
    server_side = pair[1];
    rig.sessions->accept(pair[1], *net::Address::parse("127.0.0.1:1"), 0);
  }
  ~Client() { close(); }
  void close() {
    if (descriptor >= 0) ::close(descriptor);
    descriptor = -1;
  }
  void send(std::string_view text) {
    while (!text.empty()) {
      ssize_t count = ::write(descriptor, text.data(), text.size());
      if (count > 0) text.remove_prefix(static_cast<size_t>(count));
      if (count < 0) rig.run(2);
    }
  }
  void finish() { ::shutdown(descriptor, SHUT_WR); }
  // What has come by now; `ended` when the server closed.
  std::string receive() {
    std::string all;
    for (int idle = 0; idle < 3 && !ended;) {
      rig.run(3);
      char buffer[65536];
      ssize_t count = ::read(descriptor, buffer, sizeof buffer);
      if (count > 0) {
        all.append(buffer, static_cast<size_t>(count));
        ++reads;
        idle = 0;
      } else if (count == 0 || errno != EAGAIN) {
        ended = true;
      } else {
        ++idle;
      }
    }
    return all;
  }
  std::string ask(std::string_view text) {
    send(text);
    return receive();
  }
  // Waits (events, not sleeps) until the server closes; all that came.
  std::string receive_to_end(int rounds = 2000) {
    std::string all;
    for (int i = 0; i < rounds && !ended; ++i) {
      rig.loop.run_once(5);
      all += receive();
    }
    return all;
  }

  Rig& rig;
  int descriptor = -1;
  int server_side = -1;
  bool ended = false;
  int reads = 0;
};

inline std::string body_of(const std::string& response) {
  size_t end = response.find("\r\n\r\n");
  return end == response.npos ? "" : response.substr(end + 4);
}
inline bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != text.npos;
}
inline std::string status_of(const std::string& response) {
  return response.substr(9, 3);
}
// A client's whole answer, once `end` stands in it.
inline std::string receive_until(Client& client, std::string_view end) {
  std::string text;
  const bool there = weir::test::run_until(client.rig.loop, [&] {
    text += client.receive();
    return contains(text, end) || client.ended;
  });
  INFO(text);
  REQUIRE(there);
  CHECK(contains(text, end));
  return text;
}

}  // namespace weir::http::test
