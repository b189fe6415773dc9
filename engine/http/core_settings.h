#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "confparse/scope.h"
#include "confparse/template.h"
#include "confparse/value.h"
#include "engine/http/codec.h"
#include "engine/log/error_log.h"

// What the directives of ngx_http_core_module say: members have their names, and their units by
// type. Defaults are those of the directives' rows (Directive::initial) where none stands here.
// Written by setters (modules/http/core*.cc) while a configuration is compiled; then read only, as
// long as its generation lives.
namespace weir::http {

using conf::Bytes;
using conf::Milliseconds;
using conf::Number;

class FileCache;

// Per http and server: needed before the location is known (ngx_http_core_module).
struct ServerSettings {
  Milliseconds client_header_timeout;
  HeadLimits head_limits;
  bool merge_slashes = true;
  Bytes connection_pool_size, request_pool_size;
  std::vector<conf::Template> body_early_read;
};

struct ErrorPageRule {
  std::vector<int> codes;
  int overwrite = -1;     // "=N": N; "=": 0 (status of the answer); -1: keep the code
  conf::Template target;  // URI with variables, "@named" or an absolute URL
  std::string args;
};

using TypeMap = std::unordered_map<std::string, std::string>;  // extension, lower case → MIME type

enum class OldBrowser : uint8_t { none = 1, msie6 = 2, safari = 4 };
enum class LingeringClose : uint8_t { off, on, always };
enum class Satisfy : uint8_t { all, any };
enum class BodyInFile : uint8_t { off, on, clean };
enum class ServerTokens : uint8_t { off, on, build };
enum class IfModifiedSince : uint8_t { off, exact, before };
enum class SymlinkRule : uint8_t { off, on, if_not_owner };

struct TempPath {
  std::string path;
  int levels[3] = {0, 0, 0};
};

// Per location (http, server, location): the rest of ngx_http_core_module.
struct CoreSettings {
  // files
  conf::Template root;
  bool alias = false;
  std::string location_name;    // what alias replaces: the location's name, when not an expression
  bool alias_by_regex = false;  // alias in a regex location replaces the whole URI
  std::shared_ptr<const TypeMap> types;
  std::string default_type;
  bool sendfile = false;
  Bytes sendfile_max_chunk;
  bool tcp_nopush = false, tcp_nodelay = true;
  bool etag = true;
  IfModifiedSince if_modified_since = IfModifiedSince::exact;
  std::optional<Number> max_ranges;
  SymlinkRule disable_symlinks = SymlinkRule::off;
  conf::Template disable_symlinks_from;
  bool log_not_found = true;
  std::optional<conf::FileOffset> directio;  // off: none
  bool aio_threads = false;
  bool aio_write = false;
  Number output_buffer_count{2};
  Bytes output_buffer_size;
  // open_file_cache
  std::shared_ptr<FileCache> open_file_cache;  // null: off. What it holds is the worker's
  conf::Seconds open_file_cache_valid;
  Number open_file_cache_min_uses{1};
  bool open_file_cache_errors = false;

  // request body
  conf::FileOffset client_max_body_size;
  bool body_limit_given = false;  // client_max_body_size is not the default
  Bytes client_body_buffer_size;
  BodyInFile client_body_in_file_only = BodyInFile::off;
  bool client_body_in_single_buffer = false;
  TempPath client_body_temp_path;
  Milliseconds client_body_timeout;

  // connection
  Milliseconds keepalive_timeout;
  conf::Seconds keepalive_header{0};  // 0: no Keep-Alive field
  Milliseconds keepalive_time, keepalive_min_timeout;
  Number keepalive_requests;
  conf::Bitmask<OldBrowser> keepalive_disable;
  LingeringClose lingering_close = LingeringClose::on;
  Milliseconds lingering_time, lingering_timeout, send_timeout;
  Bytes send_lowat;
  Bytes postpone_output;
  bool reset_timedout_connection = false;
  bool chunked_transfer_encoding = true;

  // answers
  bool absolute_redirect = true, server_name_in_redirect = false, port_in_redirect = true;
  bool msie_padding = true, msie_refresh = false;
  ServerTokens server_tokens = ServerTokens::on;
  std::vector<ErrorPageRule> error_pages;
  bool recursive_error_pages = false;
  conf::Template limit_rate, limit_rate_after;
  std::vector<conf::Template> early_hints;
  Bytes subrequest_output_buffer_size;
  bool log_subrequest = false;

  Satisfy satisfy = Satisfy::all;
  Milliseconds auth_delay;
  Milliseconds resolver_timeout;
  std::vector<std::string> resolver;  // the words as written; engine/upstream/resolver parses
  std::string post_action;
  std::shared_ptr<const ErrorLogTargets> error_log;
};

}  // namespace weir::http

namespace weir::conf {

template <>
struct EnumWords<http::OldBrowser> {
  static constexpr std::pair<std::string_view, http::OldBrowser> words[] = {
      {"none", http::OldBrowser::none},
      {"msie6", http::OldBrowser::msie6},
      {"safari", http::OldBrowser::safari}};
};
template <>
struct EnumWords<http::LingeringClose> {
  static constexpr std::pair<std::string_view, http::LingeringClose> words[] = {
      {"off", http::LingeringClose::off},
      {"on", http::LingeringClose::on},
      {"always", http::LingeringClose::always}};
};
template <>
struct EnumWords<http::Satisfy> {
  static constexpr std::pair<std::string_view, http::Satisfy> words[] = {
      {"all", http::Satisfy::all}, {"any", http::Satisfy::any}};
};
template <>
struct EnumWords<http::BodyInFile> {
  static constexpr std::pair<std::string_view, http::BodyInFile> words[] = {
      {"off", http::BodyInFile::off},
      {"on", http::BodyInFile::on},
      {"clean", http::BodyInFile::clean}};
};
template <>
struct EnumWords<http::ServerTokens> {
  static constexpr std::pair<std::string_view, http::ServerTokens> words[] = {
      {"off", http::ServerTokens::off},
      {"on", http::ServerTokens::on},
      {"build", http::ServerTokens::build}};
};
template <>
struct EnumWords<http::IfModifiedSince> {
  static constexpr std::pair<std::string_view, http::IfModifiedSince> words[] = {
      {"off", http::IfModifiedSince::off},
      {"exact", http::IfModifiedSince::exact},
      {"before", http::IfModifiedSince::before}};
};

}  // namespace weir::conf
