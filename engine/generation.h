#pragma once

#include <memory>
#include <string>
#include <vector>

#include "confparse/ref.h"
#include "confparse/scope.h"
#include "engine/net/listener.h"
#include "engine/zone/request.h"

namespace weir {

namespace http {
struct Graph;
}
namespace zone {
class Zone;
}
namespace stream {
struct Graph;
}

// A folder that must exist with the worker's user as owner (client_body_temp_path,
// proxy_temp_path).
struct TempFolder {
  std::string path;
  bool operator==(const TempFolder&) const = default;
};

// One address to listen on. Listeners of http and stream refer to it by index.
struct ListenRequest {
  net::ListenOptions options;
  bool is_http = true;
};

// What the outside must provide before a compiled configuration can run; opened by the master.
struct Resources {
  std::vector<ListenRequest> listeners;
  std::vector<std::string>
      log_files;  // full paths, without duplicates, in nginx's order of opening
  std::vector<TempFolder> temp_folders;
  std::vector<zone::ZoneRequest> zones;
};

// A compiled configuration with all it owns: immutable once compiled, one current per worker, kept
// by every request that began with it. Counted without atomics: compiled on a helper thread, then
// handed to the loop's thread for good.
class Generation final : public RefCounted {
 public:
  Generation();
  ~Generation();
  uint64_t number = 0;
  std::unique_ptr<conf::Scope> root;      // main scope: core settings
  std::unique_ptr<http::Graph> http;      // null without an http block
  std::unique_ptr<stream::Graph> stream;  // null without a stream block
  Resources resources;
  // In the order of Resources::zones; a worker attaches them before the generation is in force.
  std::vector<std::shared_ptr<zone::Zone>> zones;
  // Kept by those who write to this generation's log files when it may be gone itself (tunnels):
  // the files stay open as long.
  std::shared_ptr<const void> log_use;
};

}  // namespace weir
