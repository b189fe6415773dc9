// A whole worker: the input is what a client sends and, behind a line "++++", what an upstream
// sends to whoever connects to it. The configuration has answers of its own, rewriting, files,
// subrequests and a proxy with small buffers. Checked: that everything is over and closed when both
// have gone.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/worlds.h"
#include "engine/event/loop.h"
#include "engine/generation.h"
#include "engine/http/graph.h"
#include "engine/http/session.h"
#include "engine/http/tunnel.h"
#include "engine/log/access_sink.h"
#include "engine/log/error_log.h"
#include "engine/log/log_table.h"
#include "engine/process/compile_generation.h"
#include "engine/upstream/runtime.h"
#include "engine/worker.h"
#include "modules/all.h"

using namespace weir;

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::abort();
}

constexpr const char* kConfiguration = R"(
error_log /dev/null info;
events { }
http {
  log_format all '$remote_addr $request "$http_user_agent" $status $upstream_status $upstream_addr '
                 '$upstream_http_x $request_time $args $arg_a $cookie_b $bytes_sent $sent_http_x';
  access_log /dev/null all;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  client_body_buffer_size 64;
  client_max_body_size 2k;
  proxy_buffer_size 1k; proxy_buffers 2 1k; proxy_busy_buffers_size 1k;
  proxy_next_upstream error timeout invalid_header http_503 non_idempotent;
  map $arg_m $mapped { default none; ~^(?<part>.)x $part; hello world; }
  upstream up { server unix:FOLDER/up max_fails=0; server unix:FOLDER/up weight=2 max_fails=0; }
  server {
    listen 127.0.0.1:80;
    server_name a *.b ~^(?<sub>.+)\.c$;
    root FOLDER;
    error_page 404 /missing;
    error_page 502 504 =200 @fallback;
    location / { try_files $uri $uri/ /return; }
    location = /return { return 200 "$uri $args $mapped $host $sub $request_body\n"; }
    location /rewrite { rewrite ^/rewrite/(.*)$ /return?x=$1 last; }
    location /if { if ($http_x ~ "^(a|b)+$") { return 201 $1; } set $v "$http_x$arg_a"; return 202 $v; }
    location ~ \.(html|txt)$ { add_header X-A $request_uri always; expires 1h; }
    location /proxy { proxy_pass http://up; proxy_set_header X-Y $http_x; proxy_pass_trailers on; }
    location /other/ { proxy_pass http://up/base/; proxy_redirect / /other/;
      proxy_cookie_path / /other/; proxy_cookie_domain x y; proxy_cookie_flags ~ secure; }
    location /stream { proxy_pass http://up; proxy_buffering off; proxy_request_buffering off; }
    location /tunnel { proxy_pass http://up; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade; }
    location /auth { auth_request /proxy; auth_request_set $who $upstream_http_x; return 200 $who; }
    location /limited { limit_except GET { deny all; } return 200; }
    location /missing { internal; return 404 "missing $uri"; }
    location @fallback { return 200 "fallback"; }
  }
}
)";

struct Service {
  Service() : folder("/tmp/weir-fuzz-XXXXXX"), sinks(&loop, logs) {
    require(::mkdtemp(folder.data()) != nullptr, "mkdtemp");
    for (const char* name : {"/body", "/proxy", "/dir"}) ::mkdir((folder + name).c_str(), 0700);
    write("/a.txt", "0123456789");
    write("/dir/index.html", "<html>");
    listen();
    logs.open("/dev/null");
    compile();
    sessions = std::make_unique<http::Sessions>(worker);
    std::atexit([] { (void)!std::system(("rm -rf " + place()).c_str()); });
    place() = folder;
  }
  static std::string& place() {
    static auto* name = new std::string;
    return *name;
  }
  void write(const char* name, std::string_view text) {
    const int file = ::open((folder + name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    (void)!::write(file, text.data(), text.size());
    ::close(file);
  }
  void listen() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    (folder + "/up").copy(address.sun_path, sizeof address.sun_path - 1);
    listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    require(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bind");
    require(::listen(listener, 64) == 0, "listen");
  }
  void compile() {
    std::string text = kConfiguration;
    for (size_t at = 0; (at = text.find("FOLDER", at)) != text.npos;) text.replace(at, 6, folder);
    conf::VirtualWorld world;
    world.add_file("/c/nginx.conf", text);
    process::Locations locations;
    locations.prefix = "/c/";
    locations.conf_prefix = "/c/";
    locations.conf_file = "/c/nginx.conf";
    locations.error_log = "/dev/null";
    auto compiled = process::compile_generation(world, all_modules(), locations, 1);
    for (const auto& diagnostic : compiled.diagnostics) {
      std::fprintf(stderr, "%s\n", process::diagnostic_text(compiled, diagnostic).c_str());
    }
    require(compiled.ok, "the configuration");
    worker.generation = std::move(compiled.generation);
    worker.access_sinks = &sinks;
  }
  // Takes new connections of the proxy, answers them, and reads what comes.
  void serve(std::string_view answer, bool close_after) {
    for (;;) {
      const int accepted = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (accepted < 0) break;
      (void)!::send(accepted, answer.data(), answer.size(), MSG_NOSIGNAL);
      if (close_after) ::shutdown(accepted, SHUT_WR);
      upstreams_open.push_back(accepted);
    }
    for (const int descriptor : upstreams_open) drop(descriptor);
  }
  static bool drop(int descriptor) {
    char buffer[4096];
    bool any = false;
    while (::recv(descriptor, buffer, sizeof buffer, 0) > 0) any = true;
    return any;
  }
  void run(uint8_t flags, std::string_view client, std::string_view upstream);

  std::string folder;
  Loop loop;
  LogTable logs;
  ErrorLog error_log{logs};
  AccessSinks sinks;
  Worker worker{loop, logs, error_log, upstreams, {}};
  upstream::Runtime upstreams{worker};
  std::unique_ptr<http::Sessions> sessions;
  int listener = -1;
  std::vector<int> upstreams_open;
};

void Service::run(uint8_t flags, std::string_view client, std::string_view upstream) {
  int pair[2];
  require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0, "pair");
  sessions->accept(pair[1], *net::Address::parse("127.0.0.1:1"), 0);
  const size_t half = (flags & 1) != 0 ? client.size() / 2 : client.size();
  const auto rounds = [&](int count) {
    for (int i = 0; i < count; ++i) {
      loop.run_once(0);
      serve(upstream, (flags & 2) != 0);
      if ((flags & 4) == 0 && drop(pair[0])) i = std::max(i - 2, 0);
    }
  };
  (void)!::send(pair[0], client.data(), half, MSG_NOSIGNAL);
  rounds(3);
  (void)!::send(pair[0], client.data() + half, client.size() - half, MSG_NOSIGNAL);
  if ((flags & 8) != 0) ::shutdown(pair[0], SHUT_WR);
  rounds(6);
  ::close(pair[0]);
  rounds(2);
  for (const int descriptor : upstreams_open) ::close(descriptor);
  upstreams_open.clear();
  // Whatever is still under way now has nobody to talk to.
  for (int i = 0; i < 60; ++i) {
    serve({}, true);
    for (const int descriptor : upstreams_open) ::close(descriptor);
    upstreams_open.clear();
    loop.run_once(0);
    if (i > 2 && sessions->count() == 0 && worker.connections == 0) break;
  }
  require(sessions->count() == 0, "all sessions have ended");
  require(http::tunnel_count() == 0, "all tunnels have ended");
  require(upstreams.idle_connections() == 0, "no pooled connection is left");
  require(worker.connections == 0, "no connection is counted any more");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 8192) return 0;
  static auto* service = new Service;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr std::string_view kDivider = "\n++++\n";
  const size_t at = text.find(kDivider);
  service->run(data[0], text.substr(0, at),
               at == text.npos ? std::string_view() : text.substr(at + kDivider.size()));
  return 0;
}
