
#include "engine/http/core_settings.h"
#include "engine/http/date.h"
#include "engine/worker.h"
#include "modules/http/core_variables.h"

// Variables of ngx_http_core_module that speak of the response.
namespace weir::http::core {

namespace {

Value get_status(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const auto status = static_cast<unsigned>(request.logged_status());
  if (status > 999) return number_value(request, status);
  const char text[] = {static_cast<char>('0' + status / 100),
                       static_cast<char>('0' + status / 10 % 10),
                       static_cast<char>('0' + status % 10)};
  return Value::of(request.arena().copy({text, sizeof text}));
}
Value get_bytes_sent(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return number_value(request, request.main().bytes_sent());
}
Value get_body_bytes_sent(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return number_value(request, request.main().body_bytes_sent());
}
Value get_request_length(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return number_value(request, request.request_length());
}
Value get_request_time(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const uint64_t now = request.worker().loop.now();
  const uint64_t started = request.main().started_at();
  return seconds_value(request, now > started ? now - started : 0);
}
Value get_completion(VariableSource& source, const Variable&) {
  return Value::of(request_of(source).main().completed() ? "OK" : "");
}
Value get_pipe(VariableSource& source, const Variable&) {
  return Value::of(request_of(source).pipelined() ? "p" : ".");
}
Value get_limit_rate(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return number_value(request, request.limit_rate());
}
void set_limit_rate(VariableSource& source, const Variable&, Value value) {
  Request& request = request_of(source);
  if (const auto rate = conf::parse_size(value.text)) {
    request.set_limit_rate(*rate);
  } else {
    request.log(Severity::error, "invalid $limit_rate \"" + std::string(value.text) + "\"");
  }
}

Value get_sent_content_type(VariableSource& source, const Variable&) {
  const std::string_view type = request_of(source).response().content_type;
  return type.empty() ? Value::none() : Value::of(type);
}
Value get_sent_content_length(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const int64_t length = request.response().content_length;
  return length < 0 ? Value::none() : number_value(request, static_cast<uint64_t>(length));
}
Value get_sent_location(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const std::string_view location = request.response().location;
  // A target that is sent as it came stands among the fields.
  return location.data() == nullptr
             ? joined_fields(request, request.response().headers, "location", ", ")
             : Value::of(location);
}
Value get_sent_last_modified(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const Response& response = request.response();
  if (!response.last_modified_text.empty()) return Value::of(response.last_modified_text);
  if (response.last_modified < 0) return Value::none();
  char* text = request.arena().text(kDateSize);
  format_date(response.last_modified, text);
  return Value::of({text, kDateSize});
}
Value get_sent_connection(VariableSource& source, const Variable&) {
  const Request& request = request_of(source);
  if (request.response().status == 101) return Value::of("upgrade");
  return Value::of(request.keep_alive() ? "keep-alive" : "close");
}
Value get_sent_keep_alive(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const int64_t seconds = request.settings<CoreSettings>().keepalive_header.value;
  if (!request.keep_alive() || seconds == 0) return Value::none();
  return Value::of(request.arena().copy("timeout=" + std::to_string(seconds)));
}
Value get_sent_transfer_encoding(VariableSource& source, const Variable&) {
  return request_of(source).sends_chunked() ? Value::of("chunked") : Value::none();
}
Value get_sent_field(VariableSource& source, const Variable& variable) {
  Request& request = request_of(source);
  const Response& response = request.response();
  if (variable.suffix() == "etag" && !response.etag.empty()) return Value::of(response.etag);
  if (variable.suffix() == "server" && !response.server.empty()) return Value::of(response.server);
  if (variable.suffix() == "date" && !response.date.empty()) return Value::of(response.date);
  return joined_fields(request, response.headers, variable.suffix(), ", ");
}
Value get_sent_joined_field(VariableSource& source, const Variable& variable) {
  Request& request = request_of(source);
  return joined_fields(request, request.response().headers,
                       reinterpret_cast<const char*>(variable.data), ", ");
}
Value get_sent_trailer(VariableSource& source, const Variable& variable) {
  Request& request = request_of(source);
  return joined_fields(request, request.response().trailers, variable.suffix(), ", ");
}

constexpr Definition kResponseVariables[] = {
    {.name = "status", .get = get_status, .cacheable = false},
    {.name = "bytes_sent", .get = get_bytes_sent},
    {.name = "body_bytes_sent", .get = get_body_bytes_sent},
    {.name = "request_length", .get = get_request_length, .cacheable = false},
    {.name = "request_time", .get = get_request_time, .cacheable = false},
    {.name = "request_completion", .get = get_completion},
    {.name = "pipe", .get = get_pipe},
    {.name = "limit_rate",
     .get = get_limit_rate,
     .cacheable = false,
     .changeable = true,
     .set = set_limit_rate},
    {.name = "sent_http_content_type", .get = get_sent_content_type},
    {.name = "sent_http_content_length", .get = get_sent_content_length},
    {.name = "sent_http_location", .get = get_sent_location},
    {.name = "sent_http_last_modified", .get = get_sent_last_modified},
    {.name = "sent_http_connection", .get = get_sent_connection},
    {.name = "sent_http_keep_alive", .get = get_sent_keep_alive},
    {.name = "sent_http_transfer_encoding", .get = get_sent_transfer_encoding},
    {.name = "sent_http_", .get = get_sent_field, .prefix = true, .changeable = true},
    {.name = "sent_trailer_", .get = get_sent_trailer, .prefix = true, .changeable = true},
};

}  // namespace

void define_response_variables(conf::Compiler& compiler) {
  for (const Definition& definition : kResponseVariables) define(compiler, definition);
  for (const char* name : {"cache_control", "link"}) {
    Variable variable;
    variable.name = std::string("sent_http_") + name;
    variable.get = get_sent_joined_field;
    variable.data = reinterpret_cast<uintptr_t>(name);
    compiler.variables().define(std::move(variable));
  }
}

bool logs_read_anew(const Variable& variable) {
  return variable.get == get_bytes_sent || variable.get == get_body_bytes_sent;
}

}  // namespace weir::http::core
