#include "engine/process/build_info.h"

#include <algorithm>
#include <string_view>

#include "engine/tls/version.h"

#ifndef WEIR_PREFIX
#define WEIR_PREFIX "/usr/share/nginx"
#endif
#ifndef WEIR_CONF_PATH
#define WEIR_CONF_PATH "/etc/nginx/nginx.conf"
#endif
#ifndef WEIR_PID_PATH
#define WEIR_PID_PATH "/run/nginx.pid"
#endif
#ifndef WEIR_LOCK_PATH
#define WEIR_LOCK_PATH "/var/lock/nginx.lock"
#endif
#ifndef WEIR_ERROR_LOG
#define WEIR_ERROR_LOG "stderr"
#endif
#ifndef WEIR_ACCESS_LOG
#define WEIR_ACCESS_LOG "/var/log/nginx/access.log"
#endif
#ifndef WEIR_MODULES_PATH
#define WEIR_MODULES_PATH "/usr/lib/nginx/modules"
#endif
#ifndef WEIR_STATE_PATH
#define WEIR_STATE_PATH "/var/lib/nginx"
#endif
#ifndef WEIR_SBIN_PATH
#define WEIR_SBIN_PATH "/usr/sbin/nginx"
#endif
#ifndef WEIR_USER
#define WEIR_USER "nobody"
#endif
#ifndef WEIR_GROUP
#define WEIR_GROUP "nogroup"
#endif
#ifndef WEIR_VERSION
#define WEIR_VERSION "0"
#endif

namespace weir::process {

const char* BuildPaths::prefix() {
  return WEIR_PREFIX "/";
}
const char* BuildPaths::conf_path() {
  return WEIR_CONF_PATH;
}
const char* BuildPaths::pid_path() {
  return WEIR_PID_PATH;
}
const char* BuildPaths::lock_path() {
  return WEIR_LOCK_PATH;
}
const char* BuildPaths::error_log() {
  return WEIR_ERROR_LOG;
}
const char* BuildPaths::access_log() {
  return WEIR_ACCESS_LOG;
}
const char* BuildPaths::user() {
  return WEIR_USER;
}
const char* BuildPaths::group() {
  return WEIR_GROUP;
}
const char* BuildPaths::modules_path() {
  return WEIR_MODULES_PATH;
}
const char* BuildPaths::client_body_temp() {
  return WEIR_STATE_PATH "/body";
}
const char* BuildPaths::proxy_temp() {
  return WEIR_STATE_PATH "/proxy";
}

std::string product() {
  return std::string("nginx/") + kNginxVersion + " (weir/" WEIR_VERSION ")";
}

namespace {

// A module of nginx's default build, and how its configure leaves it out.
struct DefaultModule {
  std::string_view name;
  std::string_view option;
  // Its directive, where a module of ours has several of nginx's: it is here when that is.
  std::string_view directive = {};
  uint32_t where = 0;
};
constexpr DefaultModule kDefaultModules[] = {
    {"ngx_http_charset_module", "http_charset_module"},
    {"ngx_http_gzip_filter_module", "http_gzip_module"},
    {"ngx_http_ssi_filter_module", "http_ssi_module"},
    {"ngx_http_userid_filter_module", "http_userid_module"},
    {"ngx_http_access_module", "http_access_module"},
    {"ngx_http_auth_basic_module", "http_auth_basic_module"},
    {"ngx_http_mirror_module", "http_mirror_module"},
    {"ngx_http_autoindex_module", "http_autoindex_module"},
    {"ngx_http_geo_module", "http_geo_module"},
    {"ngx_http_map_module", "http_map_module"},
    {"ngx_http_split_clients_module", "http_split_clients_module"},
    {"ngx_http_referer_module", "http_referer_module"},
    {"ngx_http_rewrite_module", "http_rewrite_module"},
    {"ngx_http_proxy_module", "http_proxy_module"},
    {"ngx_http_fastcgi_module", "http_fastcgi_module"},
    {"ngx_http_uwsgi_module", "http_uwsgi_module"},
    {"ngx_http_scgi_module", "http_scgi_module"},
    {"ngx_http_grpc_module", "http_grpc_module"},
    {"ngx_http_memcached_module", "http_memcached_module"},
    {"ngx_http_limit_conn_module", "http_limit_conn_module"},
    {"ngx_http_limit_req_module", "http_limit_req_module"},
    {"ngx_http_empty_gif_module", "http_empty_gif_module"},
    {"ngx_http_browser_module", "http_browser_module"},
    {"ngx_http_upstream_hash_module", "http_upstream_hash_module", "hash", conf::kUpstream},
    {"ngx_http_upstream_ip_hash_module", "http_upstream_ip_hash_module", "ip_hash",
     conf::kUpstream},
    {"ngx_http_upstream_least_conn_module", "http_upstream_least_conn_module", "least_conn",
     conf::kUpstream},
    {"ngx_http_upstream_random_module", "http_upstream_random_module", "random", conf::kUpstream},
    {"ngx_http_upstream_keepalive_module", "http_upstream_keepalive_module", "keepalive",
     conf::kUpstream},
    {"ngx_http_upstream_zone_module", "http_upstream_zone_module", "zone", conf::kUpstream},
    {"ngx_http_upstream_sticky_module", "http_upstream_sticky_module", "sticky", conf::kUpstream},
    {"ngx_stream_limit_conn_module", "stream_limit_conn_module"},
    {"ngx_stream_access_module", "stream_access_module"},
    {"ngx_stream_geo_module", "stream_geo_module"},
    {"ngx_stream_map_module", "stream_map_module"},
    {"ngx_stream_split_clients_module", "stream_split_clients_module"},
    {"ngx_stream_return_module", "stream_return_module"},
    {"ngx_stream_pass_module", "stream_pass_module"},
    {"ngx_stream_set_module", "stream_set_module"},
    {"ngx_stream_upstream_hash_module", "stream_upstream_hash_module", "hash",
     conf::kStreamUpstream},
    {"ngx_stream_upstream_least_conn_module", "stream_upstream_least_conn_module", "least_conn",
     conf::kStreamUpstream},
    {"ngx_stream_upstream_random_module", "stream_upstream_random_module", "random",
     conf::kStreamUpstream},
    {"ngx_stream_upstream_zone_module", "stream_upstream_zone_module", "zone",
     conf::kStreamUpstream},
};

bool is_built_in(std::span<const conf::Module* const> modules, const DefaultModule& wanted) {
  return std::any_of(modules.begin(), modules.end(), [&](const conf::Module* module) {
    if (wanted.directive.empty()) return module->name == wanted.name;
    return std::any_of(module->directives.begin(), module->directives.end(), [&](const auto& row) {
      return row.name == wanted.directive && (row.where & wanted.where) != 0;
    });
  });
}

}  // namespace

std::string build_description(std::span<const conf::Module* const> modules) {
  std::string text = "built by gcc " __VERSION__;
  text += "\nbuilt with " + tls::library_version();
  text += "\nTLS SNI support enabled\nconfigure arguments:";
  text += " --prefix=" WEIR_PREFIX " --sbin-path=" WEIR_SBIN_PATH " --conf-path=" WEIR_CONF_PATH
          " --http-log-path=" WEIR_ACCESS_LOG " --error-log-path=" WEIR_ERROR_LOG
          " --lock-path=" WEIR_LOCK_PATH " --pid-path=" WEIR_PID_PATH
          " --modules-path=" WEIR_MODULES_PATH " --http-client-body-temp-path=" WEIR_STATE_PATH
          "/body --http-proxy-temp-path=" WEIR_STATE_PATH "/proxy --user=" WEIR_USER
          " --group=" WEIR_GROUP " --with-compat --with-pcre-jit --with-threads";
  for (const conf::Module* module : modules) {
    if (module->configure_argument.empty()) continue;
    text += ' ';
    text += module->configure_argument;
  }
  for (const DefaultModule& module : kDefaultModules) {
    if (is_built_in(modules, module)) continue;
    text += " --without-";
    text += module.option;
  }
  return text;
}

}  // namespace weir::process
