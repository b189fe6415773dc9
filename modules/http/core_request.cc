#include "confparse/setters.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "modules/http/core.h"

// ngx_http_core_module: directives about the request's head and body.
namespace weir::http::core {

#ifndef WEIR_CLIENT_BODY_TEMP_PATH
#define WEIR_CLIENT_BODY_TEMP_PATH "client_body_temp"
#endif

namespace {

using namespace conf;

void set_buffer_size_limit(Compiler& compiler, Scope& scope, const Statement& statement) {
  const auto size = parse_size(statement.argument(0));
  if (!size) {
    compiler.error(statement, "\"client_header_buffer_size\" directive invalid value", {},
                   &statement.words[1]);
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

void set_early_read(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<ServerSettings>();
  if (compiler.first_use(scope)) settings.body_early_read.clear();
  for (size_t i = 1; i < statement.words.size(); ++i) {
    settings.body_early_read.push_back(compiler.make_template(statement, statement.words[i]));
  }
}

template <auto Member>
void set_head_flag(Compiler& compiler, Scope& scope, const Statement& statement) {
  bool flag = false;
  if (read_setting(compiler, scope, statement, flag))
    scope.write<ServerSettings>().head_limits.*Member = flag;
}
constexpr uint32_t kAll = kHttpServerLocation;

constexpr Directive kDirectives[] = {
    {.name = "client_header_timeout",
     .where = kHttp | kServer,
     .args = {1, 1},
     .initial = "60s",
     .set = into<&ServerSettings::client_header_timeout>,
     .doc = "Time for a whole request head; then 408."},
    {.name = "client_header_buffer_size",
     .where = kHttp | kServer,
     .args = {1, 1},
     .initial = "1k",
     .set = set_buffer_size_limit,
     .doc = "First buffer for a request head."},
    {.name = "large_client_header_buffers",
     .where = kHttp | kServer,
     .args = {2, 2},
     .initial = "4 8k",
     .set = set_large_client_header_buffers,
     .doc = "Count and size of buffers for long heads; a line must fit one."},
    {.name = "max_headers",
     .where = kHttp | kServer,
     .args = {1, 1},
     .initial = "1000",
     .set = set_max_headers,
     .doc = "Most fields of one request head."},
    {.name = "ignore_invalid_headers",
     .where = kHttp | kServer,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "on",
     .set = set_head_flag<&HeadLimits::ignore_invalid>,
     .doc = "Drop fields with invalid names."},
    {.name = "underscores_in_headers",
     .where = kHttp | kServer,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = set_head_flag<&HeadLimits::allow_underscores>,
     .doc = "Names with underscores are valid."},
    {.name = "merge_slashes",
     .where = kHttp | kServer,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "on",
     .set = into<&ServerSettings::merge_slashes>,
     .doc = "Take several slashes in a URI as one."},
    {.name = "connection_pool_size",
     .where = kHttp | kServer,
     .args = {1, 1},
     .initial = "512",
     .set = set_pool_size,
     .doc = "Checked; weir sizes its own memory."},
    {.name = "request_pool_size",
     .where = kHttp | kServer,
     .args = {1, 1},
     .initial = "4k",
     .set = set_pool_size,
     .doc = "Checked; weir sizes its own memory."},
    {.name = "client_max_body_size",
     .where = kAll,
     .args = {1, 1},
     .initial = "1m",
     .set = set_max_body_size,
     .doc = "Largest request body, then 413; 0: no limit."},
    {.name = "client_body_buffer_size",
     .where = kAll,
     .args = {1, 1},
     .initial = "16k",
     .set = into<&CoreSettings::client_body_buffer_size>,
     .doc = "Bytes of a body kept in memory; more goes to a file."},
    {.name = "client_body_early_read",
     .where = kHttp | kServer,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = set_early_read,
     .doc = "When to read a body before a location is chosen: a word that is not empty or 0."},
    {.name = "client_body_in_file_only",
     .where = kAll,
     .args = {1, 1},
     .initial = "off",
     .set = into<&CoreSettings::client_body_in_file_only>,
     .doc = "Keep every body in a file."},
    {.name = "client_body_in_single_buffer",
     .where = kAll,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&CoreSettings::client_body_in_single_buffer>,
     .doc = "Checked; $request_body is always in one piece."},
    {.name = "client_body_temp_path",
     .where = kAll,
     .args = {1, 4},
     .initial = WEIR_CLIENT_BODY_TEMP_PATH,
     .set = set_client_body_temp_path,
     .doc = "Folder of temporary body files."},
    {.name = "client_body_timeout",
     .where = kAll,
     .args = {1, 1},
     .initial = "60s",
     .set = into<&CoreSettings::client_body_timeout>,
     .doc = "Time between two reads of a body; then 408."},
};

}  // namespace

namespace {

Task<PhaseResult> read_whole_body(Request& request) {
  const int status = co_await request.exchange().body().read_early(request);
  if (status != 0) co_return PhaseResult::status(status);
  co_return PhaseResult::next();
}

}  // namespace

PhaseResult read_body_early(Request& request) {
  const auto& words = request.settings<ServerSettings>().body_early_read;
  if (words.empty()) return PhaseResult::next();
  RequestBody& body = request.body();
  if (!body.present()) return PhaseResult::next();
  bool wanted = false;
  for (const conf::Template& word : words) {
    const std::string_view value = word.evaluate(request);
    wanted = wanted || (!value.empty() && value != "0");
  }
  if (!wanted) return PhaseResult::next();
  const int64_t limit = request.settings<CoreSettings>().client_max_body_size.value;
  const BodyLength& length = body.length();
  if (limit != 0 && length.kind == BodyLength::Kind::exact &&
      length.bytes > static_cast<uint64_t>(limit)) {
    request.log(Severity::error, "client intended to send too large body: " +
                                     std::to_string(length.bytes) + " bytes");
    request.exchange().body().no_continue();
    body.discard();
    return PhaseResult::status(413);
  }
  return PhaseResult::pending(read_whole_body(request));
}

std::span<const conf::Directive> request_directives() {
  return kDirectives;
}

}  // namespace weir::http::core
