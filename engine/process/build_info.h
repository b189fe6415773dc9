#pragma once

#include <span>
#include <string>

#include "confparse/schema.h"

// Paths and names of the build: CMake options (WEIR_PREFIX, …), with Debian's nginx as the default.
namespace weir::process {

inline constexpr const char* kNginxVersion = "1.31.4";

struct BuildPaths {
  static const char* prefix();     // "/usr/share/nginx/"
  static const char* conf_path();  // "/etc/nginx/nginx.conf"
  static const char* pid_path();
  static const char* lock_path();
  static const char* error_log();  // a path, or "stderr"
  static const char* access_log();
  static const char* user();
  static const char* group();
  static const char* modules_path();
  static const char* client_body_temp();
  static const char* proxy_temp();
};

// "nginx/1.31.4 (weir/0.1.0)".
std::string product();
// What -V prints after the version: compiler and configure arguments, those of modules that a
// default build of nginx has and this one has not as --without-….
std::string build_description(std::span<const conf::Module* const> modules);

}  // namespace weir::process
