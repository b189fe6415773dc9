#include "modules/http/core.h"

#include "confparse/setters.h"
#include "engine/http/core_settings.h"
#include "modules/http/modules.h"

// ngx_http_core_module: the directive table. Not here: try_files (try_files.cc).
namespace weir::http::core {

#ifndef WEIR_CLIENT_BODY_TEMP_PATH
#define WEIR_CLIENT_BODY_TEMP_PATH "client_body_temp"
#endif

namespace {

using namespace conf;  // contexts, forms, setters: the vocabulary of a directive table

// Knobs of nginx's internals: checked, and nothing to do here (docs/differences.md).
struct TuningSettings {
  Bytes read_ahead, send_lowat;
  FileOffset directio_alignment;
  Number variables_hash_max_size, variables_hash_bucket_size;
  Number server_names_hash_max_size, server_names_hash_bucket_size;
  Number types_hash_max_size, types_hash_bucket_size;
  bool open_file_cache_events = false;
};

void set_buffer_size_limit(Compiler& compiler, Scope& scope, const Statement& statement) {
  const auto size = parse_size(statement.argument(0));
  if (!size) {
    compiler.error(statement, "\"client_header_buffer_size\" directive invalid value", {}, &statement.words[1]);
    return;
  }
  scope.write<ServerSettings>().head_limits.first_buffer = static_cast<uint32_t>(*size);
}

void set_max_headers(Compiler& compiler, Scope& scope, const Statement& statement) {
  const auto count = parse_number(statement.argument(0));
  if (!count) {
    compiler.error(statement, "\"max_headers\" directive invalid number", {}, &statement.words[1]);
    return;
  }
  scope.write<ServerSettings>().head_limits.max_headers = static_cast<uint32_t>(*count);
}

template <auto Member>
void set_head_flag(Compiler& compiler, Scope& scope, const Statement& statement) {
  bool flag = false;
  if (read_setting(compiler, scope, statement, flag)) scope.write<ServerSettings>().head_limits.*Member = flag;
}

void read_main_scope(Compiler& compiler, Scope& scope, const Statement& statement) {
  read_http(compiler, scope, statement);
}

constexpr uint32_t kAll = kHttpServerLocation;
constexpr uint32_t kAllAndIf = kHttpServerLocation | kIfInLocation;

constexpr Directive kDirectives[] = {
    {.name = "http", .where = kMain, .form = Form::block, .set = read_main_scope,
     .doc = "Holds the configuration of the HTTP server."},
    {.name = "server", .where = kHttp, .form = Form::block, .repeat = Repeat::collect, .deferred = true,
     .set = read_server, .doc = "A virtual server."},
    {.name = "location", .where = kServer | kLocation, .args = {1, 2}, .form = Form::block,
     .repeat = Repeat::collect, .deferred = true, .set = read_location,
     .doc = "Settings for requests whose URI matches."},
    {.name = "limit_except", .where = kLocation, .args = {1, kNoLimit}, .form = Form::block, .deferred = true,
     .set = read_limit_except, .doc = "Settings for requests with other methods than these."},
    {.name = "listen", .where = kServer, .args = {1, kNoLimit}, .repeat = Repeat::collect,
     .merge = Merge::own, .set = read_listen, .doc = "An address to accept connections on."},
    {.name = "server_name", .where = kServer, .args = {1, kNoLimit}, .repeat = Repeat::collect,
     .merge = Merge::own, .set = read_server_name, .doc = "Names of the virtual server."},
    {.name = "internal", .where = kLocation, .args = {0, 0}, .merge = Merge::own, .set = set_internal,
     .doc = "Only internal requests reach this location; others get 404."},
    {.name = "types", .where = kAll, .form = Form::block, .repeat = Repeat::collect, .set = read_types,
     .doc = "Maps file name extensions to MIME types."},
    {.name = "default_type", .where = kAll, .args = {1, 1}, .initial = "text/plain",
     .set = into<&CoreSettings::default_type>, .doc = "MIME type of files whose extension is not in types."},

    // files
    {.name = "root", .where = kAllAndIf, .args = {1, 1}, .initial = "html", .set = set_root,
     .doc = "Folder that the URI is looked up in."},
    {.name = "alias", .where = kLocation, .args = {1, 1}, .set = set_root,
     .doc = "What replaces the location's name in the file path."},
    {.name = "sendfile", .where = kAllAndIf, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = into<&CoreSettings::sendfile>, .doc = "Send files with sendfile(2)."},
    {.name = "sendfile_max_chunk", .where = kAll, .args = {1, 1}, .initial = "2m",
     .set = into<&CoreSettings::sendfile_max_chunk>, .doc = "Most bytes of one sendfile call; 0: no limit."},
    {.name = "tcp_nopush", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = into<&CoreSettings::tcp_nopush>, .doc = "TCP_CORK while a file is sent."},
    {.name = "tcp_nodelay", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "on",
     .set = into<&CoreSettings::tcp_nodelay>, .doc = "TCP_NODELAY on keep-alive, proxied and tunnelled connections."},
    {.name = "aio", .where = kAll, .args = {1, 1}, .initial = "off", .set = set_aio,
     .doc = "Read files on the thread pool."},
    {.name = "aio_write", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = into<&CoreSettings::aio_write>, .doc = "Write temporary files on the thread pool."},
    {.name = "directio", .where = kAll, .args = {1, 1}, .initial = "off", .set = set_directio,
     .doc = "O_DIRECT for files of this size or more."},
    {.name = "directio_alignment", .where = kAll, .args = {1, 1}, .initial = "512",
     .set = into<&TuningSettings::directio_alignment>, .doc = "Checked; reads align themselves."},
    {.name = "read_ahead", .where = kAll, .args = {1, 1}, .initial = "0",
     .set = into<&TuningSettings::read_ahead>, .doc = "Checked; the kernel's own is used."},
    {.name = "output_buffers", .where = kAll, .args = {2, 2}, .initial = "2 32k", .set = set_output_buffers,
     .doc = "Buffers for reading a file that is not sent with sendfile."},
    {.name = "etag", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "on",
     .set = into<&CoreSettings::etag>, .doc = "ETag for static files."},
    {.name = "if_modified_since", .where = kAll, .args = {1, 1}, .initial = "exact",
     .set = into<&CoreSettings::if_modified_since>, .doc = "How If-Modified-Since compares."},
    {.name = "max_ranges", .where = kAll, .args = {1, 1}, .set = into<&CoreSettings::max_ranges>,
     .doc = "Most ranges of one request; 0 turns ranges off."},
    {.name = "disable_symlinks", .where = kAll, .args = {1, 2}, .initial = "off", .set = set_disable_symlinks,
     .doc = "Refuse paths with symbolic links."},
    {.name = "log_not_found", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "on",
     .set = into<&CoreSettings::log_not_found>, .doc = "Log files that were not found as errors."},
    {.name = "open_file_cache", .where = kAll, .args = {1, 2}, .initial = "off", .set = set_open_file_cache,
     .doc = "Checked; files are opened for each request."},
    {.name = "open_file_cache_valid", .where = kAll, .args = {1, 1}, .initial = "60s",
     .set = into<&CoreSettings::open_file_cache_valid>, .doc = "Checked; see open_file_cache."},
    {.name = "open_file_cache_min_uses", .where = kAll, .args = {1, 1}, .initial = "1",
     .set = into<&CoreSettings::open_file_cache_min_uses>, .doc = "Checked; see open_file_cache."},
    {.name = "open_file_cache_errors", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = into<&CoreSettings::open_file_cache_errors>, .doc = "Checked; see open_file_cache."},
    {.name = "open_file_cache_events", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = into<&TuningSettings::open_file_cache_events>, .doc = "Checked; see open_file_cache."},

    // the request's head and body
    {.name = "client_header_timeout", .where = kHttp | kServer, .args = {1, 1}, .initial = "60s",
     .set = into<&ServerSettings::client_header_timeout>, .doc = "Time for a whole request head; then 408."},
    {.name = "client_header_buffer_size", .where = kHttp | kServer, .args = {1, 1}, .initial = "1k",
     .set = set_buffer_size_limit, .doc = "First buffer for a request head."},
    {.name = "large_client_header_buffers", .where = kHttp | kServer, .args = {2, 2}, .initial = "4 8k",
     .set = set_large_client_header_buffers, .doc = "Count and size of buffers for long heads; a line must fit one."},
    {.name = "max_headers", .where = kHttp | kServer, .args = {1, 1}, .initial = "1000", .set = set_max_headers,
     .doc = "Most fields of one request head."},
    {.name = "ignore_invalid_headers", .where = kHttp | kServer, .args = {1, 1}, .form = Form::flag, .initial = "on",
     .set = set_head_flag<&HeadLimits::ignore_invalid>, .doc = "Drop fields with invalid names."},
    {.name = "underscores_in_headers", .where = kHttp | kServer, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = set_head_flag<&HeadLimits::allow_underscores>, .doc = "Names with underscores are valid."},
    {.name = "merge_slashes", .where = kHttp | kServer, .args = {1, 1}, .form = Form::flag, .initial = "on",
     .set = into<&ServerSettings::merge_slashes>, .doc = "Take several slashes in a URI as one."},
    {.name = "connection_pool_size", .where = kHttp | kServer, .args = {1, 1}, .initial = "512",
     .set = set_pool_size, .doc = "Checked; weir sizes its own memory."},
    {.name = "request_pool_size", .where = kHttp | kServer, .args = {1, 1}, .initial = "4k",
     .set = set_pool_size, .doc = "Checked; weir sizes its own memory."},
    {.name = "client_max_body_size", .where = kAll, .args = {1, 1}, .initial = "1m",
     .set = into<&CoreSettings::client_max_body_size>, .doc = "Largest request body, then 413; 0: no limit."},
    {.name = "client_body_buffer_size", .where = kAll, .args = {1, 1}, .initial = "16k",
     .set = into<&CoreSettings::client_body_buffer_size>, .doc = "Bytes of a body kept in memory; more goes to a file."},
    {.name = "client_body_in_file_only", .where = kAll, .args = {1, 1}, .initial = "off",
     .set = into<&CoreSettings::client_body_in_file_only>, .doc = "Keep every body in a file."},
    {.name = "client_body_in_single_buffer", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = into<&CoreSettings::client_body_in_single_buffer>, .doc = "Keep a body in one piece of memory."},
    {.name = "client_body_temp_path", .where = kAll, .args = {1, 4}, .initial = WEIR_CLIENT_BODY_TEMP_PATH,
     .set = set_client_body_temp_path, .doc = "Folder of temporary body files."},
    {.name = "client_body_timeout", .where = kAll, .args = {1, 1}, .initial = "60s",
     .set = into<&CoreSettings::client_body_timeout>, .doc = "Time between two reads of a body; then 408."},

    // the connection
    {.name = "keepalive_timeout", .where = kAll, .args = {1, 2}, .initial = "75s", .set = set_keepalive_timeout,
     .doc = "How long an idle connection stays; second: the Keep-Alive field's value."},
    {.name = "keepalive_requests", .where = kAll, .args = {1, 1}, .initial = "1000",
     .set = into<&CoreSettings::keepalive_requests>, .doc = "Requests of one connection."},
    {.name = "keepalive_time", .where = kAll, .args = {1, 1}, .initial = "1h",
     .set = into<&CoreSettings::keepalive_time>, .doc = "Age after which a connection is closed after its request."},
    {.name = "keepalive_min_timeout", .where = kAll, .args = {1, 1}, .initial = "0",
     .set = into<&CoreSettings::keepalive_min_timeout>, .doc = "An idle connection is not closed earlier on reload or exit."},
    {.name = "keepalive_disable", .where = kAll, .args = {1, 2}, .repeat = Repeat::collect, .initial = "msie6",
     .set = into<&CoreSettings::keepalive_disable>, .doc = "Browsers that get no keep-alive."},
    {.name = "lingering_close", .where = kAll, .args = {1, 1}, .initial = "on",
     .set = into<&CoreSettings::lingering_close>, .doc = "Read what a client still sends before closing."},
    {.name = "lingering_time", .where = kAll, .args = {1, 1}, .initial = "30s",
     .set = into<&CoreSettings::lingering_time>, .doc = "Longest lingering in all."},
    {.name = "lingering_timeout", .where = kAll, .args = {1, 1}, .initial = "5s",
     .set = into<&CoreSettings::lingering_timeout>, .doc = "Longest wait for more while lingering."},
    {.name = "send_timeout", .where = kAll, .args = {1, 1}, .initial = "60s",
     .set = into<&CoreSettings::send_timeout>, .doc = "Time between two writes to a client."},
    {.name = "send_lowat", .where = kAll, .args = {1, 1}, .initial = "0",
     .set = into<&TuningSettings::send_lowat>, .doc = "Checked; ignored on Linux, as in nginx."},
    {.name = "postpone_output", .where = kAll, .args = {1, 1}, .initial = "1460",
     .set = into<&CoreSettings::postpone_output>, .doc = "Bytes to gather before writing, if more may come."},
    {.name = "reset_timedout_connection", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = into<&CoreSettings::reset_timedout_connection>, .doc = "RST for connections that timed out or ended with 444."},
    {.name = "chunked_transfer_encoding", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "on",
     .set = into<&CoreSettings::chunked_transfer_encoding>, .doc = "Chunked coding towards HTTP/1.1 clients."},

    // answers
    {.name = "absolute_redirect", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "on",
     .set = into<&CoreSettings::absolute_redirect>, .doc = "Redirects name scheme and host."},
    {.name = "server_name_in_redirect", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = into<&CoreSettings::server_name_in_redirect>, .doc = "Redirects name the first server_name."},
    {.name = "port_in_redirect", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "on",
     .set = into<&CoreSettings::port_in_redirect>, .doc = "Redirects name the port."},
    {.name = "msie_padding", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "on",
     .set = into<&CoreSettings::msie_padding>, .doc = "Pad error pages for MSIE."},
    {.name = "msie_refresh", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = into<&CoreSettings::msie_refresh>, .doc = "Refresh instead of redirect for MSIE."},
    {.name = "server_tokens", .where = kAll, .args = {1, 1}, .initial = "on",
     .set = into<&CoreSettings::server_tokens>, .doc = "Version in Server and error pages."},
    {.name = "error_page", .where = kAllAndIf, .args = {2, kNoLimit}, .repeat = Repeat::collect,
     .merge = Merge::replace_list, .set = set_error_page, .doc = "Where requests with these statuses go."},
    {.name = "recursive_error_pages", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = into<&CoreSettings::recursive_error_pages>, .doc = "An error page's error may have its own page."},
    {.name = "limit_rate", .where = kAllAndIf, .args = {1, 1}, .initial = "0",
     .set = into<&CoreSettings::limit_rate>, .doc = "Bytes per second of one response; 0: no limit."},
    {.name = "limit_rate_after", .where = kAllAndIf, .args = {1, 1}, .initial = "0",
     .set = into<&CoreSettings::limit_rate_after>, .doc = "Bytes that are sent before limit_rate applies."},
    {.name = "early_hints", .where = kAll, .args = {1, kNoLimit}, .repeat = Repeat::collect,
     .merge = Merge::replace_list, .set = set_early_hints, .doc = "When upstream 103 responses are passed on."},
    {.name = "subrequest_output_buffer_size", .where = kAll, .args = {1, 1}, .initial = "4k",
     .set = into<&CoreSettings::subrequest_output_buffer_size>, .doc = "Most bytes of a captured subrequest body."},
    {.name = "log_subrequest", .where = kAll, .args = {1, 1}, .form = Form::flag, .initial = "off",
     .set = into<&CoreSettings::log_subrequest>, .doc = "Log subrequests in the access log."},
    {.name = "satisfy", .where = kAll, .args = {1, 1}, .initial = "all", .set = into<&CoreSettings::satisfy>,
     .doc = "All access checks must pass, or any."},
    {.name = "auth_delay", .where = kAll, .args = {1, 1}, .initial = "0s",
     .set = into<&CoreSettings::auth_delay>, .doc = "Delay of 401 answers."},
    {.name = "post_action", .where = kAllAndIf, .args = {1, 1}, .set = into<&CoreSettings::post_action>,
     .doc = "Runs a request after the response."},
    {.name = "error_log", .where = kAll, .args = {1, kNoLimit}, .repeat = Repeat::collect,
     .merge = Merge::replace_list, .set = set_error_log, .doc = "Where problems are logged, and from which level on."},
    {.name = "resolver", .where = kAll, .args = {1, kNoLimit}, .set = set_resolver,
     .doc = "Name servers for host names that are known only at run time."},
    {.name = "resolver_timeout", .where = kAll, .args = {1, 1}, .initial = "30s",
     .set = into<&CoreSettings::resolver_timeout>, .doc = "Time for one name."},

    // hashes: weir's tables size themselves
    {.name = "variables_hash_max_size", .where = kHttp, .args = {1, 1}, .initial = "1024",
     .set = into<&TuningSettings::variables_hash_max_size>, .doc = "Checked; tables size themselves."},
    {.name = "variables_hash_bucket_size", .where = kHttp, .args = {1, 1}, .initial = "64",
     .set = into<&TuningSettings::variables_hash_bucket_size>, .doc = "Checked; tables size themselves."},
    {.name = "server_names_hash_max_size", .where = kHttp, .args = {1, 1}, .initial = "512",
     .set = into<&TuningSettings::server_names_hash_max_size>, .doc = "Checked; tables size themselves."},
    {.name = "server_names_hash_bucket_size", .where = kHttp, .args = {1, 1}, .initial = "64",
     .set = into<&TuningSettings::server_names_hash_bucket_size>, .doc = "Checked; tables size themselves."},
    {.name = "types_hash_max_size", .where = kAll, .args = {1, 1}, .initial = "1024",
     .set = into<&TuningSettings::types_hash_max_size>, .doc = "Checked; tables size themselves."},
    {.name = "types_hash_bucket_size", .where = kAll, .args = {1, 1}, .initial = "64",
     .set = into<&TuningSettings::types_hash_bucket_size>, .doc = "Checked; tables size themselves."},
};

std::shared_ptr<const TypeMap> default_types() {
  static const auto types = std::make_shared<const TypeMap>(
      TypeMap{{"html", "text/html"}, {"gif", "image/gif"}, {"jpg", "image/jpeg"}});
  return types;
}

void prepare(Compiler& compiler, Scope& root) {
  define_variables(compiler);
  root.write<CoreSettings>().types = default_types();
}

void complete(Compiler& compiler, Scope&) { complete_listeners(compiler, builder(compiler).close_number); }

}  // namespace

}  // namespace weir::http::core

namespace weir::http {

const conf::Module kCoreModule{
    .name = "ngx_http_core_module",
    .directives = core::kDirectives,
    .prepare = core::prepare,
    .complete = core::complete,
};

}  // namespace weir::http
