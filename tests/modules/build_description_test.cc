#include <catch2/catch.hpp>

#include "engine/process/build_info.h"
#include "modules/all.h"

// Tools read `-V` to know what a program can do.
TEST_CASE(
    "the description of the build names what is built in, and what of nginx's default build is "
    "not") {
  const std::string text = weir::process::build_description(weir::all_modules()) + " ";
  const auto has = [&](const char* argument) {
    return text.find(" " + std::string(argument) + " ") != std::string::npos;
  };
  CHECK(has("--with-http_ssl_module"));
  CHECK(has("--with-http_v2_module"));
  CHECK(has("--with-stream"));
  CHECK(has("--without-http_fastcgi_module"));
  // Rows of one module of ours, modules of nginx's own.
  CHECK_FALSE(has("--without-http_upstream_ip_hash_module"));
  CHECK_FALSE(has("--without-http_upstream_zone_module"));
  CHECK_FALSE(has("--without-stream_upstream_hash_module"));
  CHECK(text.find("\nbuilt with OpenSSL ") != std::string::npos);
  CHECK(text.find("\nTLS SNI support enabled\nconfigure arguments: ") != std::string::npos);
}
