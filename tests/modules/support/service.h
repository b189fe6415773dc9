#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/event/loop.h"
#include "engine/generation.h"
#include "engine/http/session.h"
#include "engine/log/error_log.h"
#include "engine/log/log_table.h"
#include "engine/upstream/runtime.h"
#include "engine/worker.h"
#include "tests/modules/support/compiled.h"
#include "tests/support/loopback.h"

namespace weir::test {

// A worker that serves a configuration with the real modules, in the test's own process. Its first
// server must say `listen 127.0.0.1:80`: nothing is bound, clients come over socket pairs.
class Service {
 public:
  Loop loop;

  // `http` is what stands in http { }.
  void serve(const std::string& http) {
    conf::VirtualWorld world;
    world.add_file("/p/nginx.conf",
                   "error_log stderr emerg; events { }\nhttp { access_log off;\n" + http + "\n}\n");
    process::Locations locations;
    locations.prefix = "/p/";
    locations.conf_file = "/p/nginx.conf";
    locations.conf_prefix = "/p/";
    locations.error_log = "stderr";
    process::CompiledGeneration compiled =
        process::compile_generation(world, all_modules(), locations, 1);
    if (!compiled.diagnostics.empty()) {
      UNSCOPED_INFO(process::diagnostic_text(compiled, compiled.diagnostics.front()));
    }
    REQUIRE(compiled.ok);
    worker_.generation = std::move(compiled.generation);
    sessions_ = std::make_unique<http::Sessions>(worker_);
  }
  ~Service() {
    sessions_.reset();
    upstreams_.close_idle();
  }
  std::unique_ptr<Peer> connect() {
    int other = -1;
    auto peer = make_pair(loop, other);
    sessions_->accept(other, *net::Address::parse("127.0.0.1:1"), 0);
    return peer;
  }

 private:
  LogTable logs_;
  ErrorLog error_log_{logs_};
  Worker worker_{loop, logs_, error_log_, upstreams_, {}};
  upstream::Runtime upstreams_{worker_};
  std::unique_ptr<http::Sessions> sessions_;
};

}  // namespace weir::test
