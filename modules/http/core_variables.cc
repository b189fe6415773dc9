#include "modules/http/core_variables.h"

#include <sys/random.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <optional>

#include "engine/http/connection_facts.h"
#include "engine/http/cookie.h"
#include "engine/http/core_settings.h"
#include "engine/http/files.h"
#include "engine/http/graph.h"
#include "engine/http/uri.h"
#include "engine/log/clock.h"
#include "engine/worker.h"
#include "modules/http/core.h"

// Variables of ngx_http_core_module that speak of the request.
namespace weir::http::core {

namespace {

// "X-Real-IP" and "x_real_ip" are the same.
bool same_name(std::string_view field, std::string_view suffix) {
  if (field.size() != suffix.size()) return false;
  for (size_t i = 0; i < field.size(); ++i) {
    char c = field[i];
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    if (c == '-') c = '_';
    if (c != suffix[i]) return false;
  }
  return true;
}

}  // namespace

Value joined_fields(Request& request, const HeaderList& fields, std::string_view suffix,
                    std::string_view separator) {
  const Header* first = nullptr;
  size_t count = 0;
  for (const Header& field : fields) {
    if (!same_name(field.name, suffix)) continue;
    if (count++ == 0) first = &field;
  }
  if (count == 0) return Value::none();
  if (count == 1) return Value::of(first->value);
  ArenaText joined(request.arena(), 128);
  for (const Header& field : fields) {
    if (!same_name(field.name, suffix)) continue;
    if (joined.size() > 0) joined.append(separator);
    joined.append(field.value);
  }
  return Value::of(joined.view());
}

namespace {

Value text_or_none(std::string_view text) {
  return text.empty() ? Value::none() : Value::of(text);
}

Value get_uri(VariableSource& source, const Variable&) {
  const std::string_view uri = request_of(source).current().uri;
  return uri.data() == nullptr ? Value::none() : Value::of(uri);
}
Value get_args(VariableSource& source, const Variable&) {
  const std::string_view args = request_of(source).current().args;
  return args.data() == nullptr ? Value::none() : Value::of(args);
}
void set_args(VariableSource& source, const Variable&, Value value) {
  Request& request = request_of(source);
  request.current().args = value.text.empty() ? "" : value.text;
  request.current().unchanged = false;
}
Value get_is_args(VariableSource& source, const Variable&) {
  return Value::of(request_of(source).current().args.empty() ? "" : "?");
}

Value get_argument(VariableSource& source, const Variable& variable) {
  const std::string_view name = variable.suffix();
  std::string_view args = request_of(source).current().args;
  while (!args.empty() && !name.empty()) {
    const size_t end = std::min(args.find('&'), args.size());
    const std::string_view pair = args.substr(0, end);
    if (pair.size() > name.size() && pair[name.size()] == '=' &&
        conf::equal_without_case(pair.substr(0, name.size()), name)) {
      return Value::of(pair.substr(name.size() + 1));
    }
    args.remove_prefix(std::min(end + 1, args.size()));
  }
  return Value::none();
}

Value get_field(VariableSource& source, const Variable& variable) {
  Request& request = request_of(source);
  return joined_fields(request, request.headers(), variable.suffix(), ", ");
}
Value get_cookie_field(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return joined_fields(request, request.headers(), "cookie", "; ");
}
Value get_known_field(VariableSource& source, const Variable& variable) {
  const Header* field = request_of(source).headers().find(static_cast<HeaderId>(variable.data));
  return field ? Value::of(field->value) : Value::none();
}
Value get_joined_field(VariableSource& source, const Variable& variable) {
  Request& request = request_of(source);
  return joined_fields(request, request.headers(), reinterpret_cast<const char*>(variable.data),
                       ", ");
}

Value get_cookie(VariableSource& source, const Variable& variable) {
  const auto value = find_cookie(request_of(source).headers(), variable.suffix());
  return value ? Value::of(*value) : Value::none();
}

Value get_content_length(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  if (const Header* field = request.headers().find(HeaderId::content_length))
    return Value::of(field->value);
  const RequestBody& body = request.body();
  if (body.length().kind != BodyLength::Kind::chunked) return Value::none();
  if (body.is_dropped()) return body.error() ? Value::none() : Value::of("0");
  return body.ended() || body.error() ? number_value(request, body.received()) : Value::none();
}

Value get_host(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const std::string_view host = request.host();
  return Value::of(host.empty() ? std::string_view(request.server().names[0]) : host);
}

// The port of the request's authority: after the last ':' that is not inside brackets.
std::string_view authority_port(Request& request) {
  std::string_view authority = request.received().authority;
  if (authority.empty()) {
    if (const Header* field = request.headers().find(HeaderId::host)) authority = field->value;
  }
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos || (bracket != std::string_view::npos && colon < bracket))
    return {};
  return authority.substr(colon + 1);
}
Value get_request_port(VariableSource& source, const Variable&) {
  return Value::of(authority_port(request_of(source)));
}
Value get_is_request_port(VariableSource& source, const Variable&) {
  return Value::of(authority_port(request_of(source)).empty() ? "" : ":");
}

Value get_request(VariableSource& source, const Variable&) {
  const std::string_view line = request_of(source).received().request_line;
  return line.empty() ? Value::none() : Value::of(line);
}
Value get_request_uri(VariableSource& source, const Variable&) {
  const std::string_view target = request_of(source).received().target;
  return target.empty() ? Value::none() : Value::of(target);
}
Value get_method(VariableSource& source, const Variable&) {
  const std::string_view method = request_of(source).main().current().method_text;
  return method.empty() ? Value::none() : Value::of(method);
}
Value get_protocol(VariableSource& source, const Variable&) {
  const MessageHead& head = request_of(source).received();
  return head.version == Version::http_2 ? Value::of("HTTP/2.0") : text_or_none(head.protocol);
}
Value get_server_name(VariableSource& source, const Variable&) {
  return Value::of(request_of(source).server().names[0]);
}
Value get_document_root(VariableSource& source, const Variable&) {
  return Value::of(document_root(request_of(source)));
}
Value get_realpath_root(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const std::string root(document_root(request));
  char real[PATH_MAX];
  if (!::realpath(root.c_str(), real)) {
    request.log(Severity::crit, "realpath() \"" + root + "\" failed", errno);
    return Value::none();
  }
  return Value::of(request.arena().copy(real));
}
Value get_filename(VariableSource& source, const Variable&) {
  const MappedPath path = map_path(request_of(source));
  return path ? Value::of(path.path) : Value::none();
}

Value get_body(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const RequestBody& body = request.body();
  if (!body.present() || !body.ended() || !body.temp_file_name().empty()) return Value::none();
  const Chain& stored = body.stored();
  if (stored.count() == 1) return Value::of(stored[0].view());
  ArenaText text(request.arena(), body.stored_bytes() + 1);
  for (size_t i = 0; i < stored.count(); ++i) {
    if (stored[i].is_file()) return Value::none();
    text.append(stored[i].view());
  }
  return text.size() == 0 ? Value::none() : Value::of(text.view());
}
Value get_body_file(VariableSource& source, const Variable&) {
  const std::string_view name = request_of(source).body().temp_file_name();
  return name.empty() ? Value::none() : Value::of(name);
}

// The user of Basic credentials (RFC 7617).
Value get_remote_user(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const Header* field = request.headers().find(HeaderId::authorization);
  if (!field || field->value.size() < 6 ||
      !conf::equal_without_case(field->value.substr(0, 6), "basic ")) {
    return Value::none();
  }
  std::string_view coded = field->value.substr(6);
  while (!coded.empty() && coded[0] == ' ') coded.remove_prefix(1);
  ArenaText user(request.arena(), coded.size());
  uint32_t bits = 0;
  unsigned count = 0;
  for (char c : coded) {
    int digit = -1;
    if (c >= 'A' && c <= 'Z')
      digit = c - 'A';
    else if (c >= 'a' && c <= 'z')
      digit = c - 'a' + 26;
    else if (c >= '0' && c <= '9')
      digit = c - '0' + 52;
    else if (c == '+')
      digit = 62;
    else if (c == '/')
      digit = 63;
    else if (c == '=')
      break;
    if (digit < 0) return Value::none();
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    const char decoded = static_cast<char>(bits >> count & 0xff);
    if (decoded == ':') return user.size() == 0 ? Value::none() : Value::of(user.view());
    user.push_back(decoded);
  }
  return Value::none();
}

Value get_request_id(VariableSource& source, const Variable&) {
  static constexpr char kDigits[] = "0123456789abcdef";
  unsigned char bytes[16];
  if (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes))
    return Value::none();
  char* text = request_of(source).arena().text(32);
  for (size_t i = 0; i < sizeof bytes; ++i) {
    text[2 * i] = kDigits[bytes[i] >> 4];
    text[2 * i + 1] = kDigits[bytes[i] & 15];
  }
  return Value::of({text, 32});
}

Value get_text(VariableSource&, const Variable& variable) {
  return Value::of(*reinterpret_cast<const std::string*>(variable.data));
}
Value get_version(VariableSource&, const Variable&) {
  return Value::of("1.31.4");
}
Value get_pid(VariableSource& source, const Variable&) {
  return number_value(request_of(source), static_cast<uint64_t>(::getpid()));
}
Value get_scheme(VariableSource& source, const Variable&) {
  return Value::of(request_of(source).connection().tls ? "https" : "http");
}
Value get_https(VariableSource& source, const Variable&) {
  return Value::of(request_of(source).connection().tls ? "on" : "");
}

Value get_capture(VariableSource& source, const Variable& variable) {
  Request& request = request_of(source);
  if (variable.data >= request.capture_count()) return Value::none();
  const std::string_view text = request.capture(variable.data);
  return Value::of(request.escape_captures ? escape(request.arena(), text, Escape::args) : text);
}

Value get_time_local(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return Value::of(
      request.arena().copy(clock_text::local(request.worker().loop.wall_milliseconds())));
}
Value get_time_iso8601(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return Value::of(
      request.arena().copy(clock_text::iso8601(request.worker().loop.wall_milliseconds())));
}
Value get_msec(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return seconds_value(request, static_cast<uint64_t>(request.worker().loop.wall_milliseconds()));
}

constexpr Definition kRequestVariables[] = {
    {.name = "uri", .get = get_uri, .cacheable = false},
    {.name = "document_uri", .get = get_uri, .cacheable = false},
    {.name = "args", .get = get_args, .cacheable = false, .changeable = true, .set = set_args},
    {.name = "query_string", .get = get_args, .cacheable = false},
    {.name = "is_args", .get = get_is_args, .cacheable = false},
    {.name = "arg_", .get = get_argument, .cacheable = false, .prefix = true, .changeable = true},
    {.name = "http_", .get = get_field, .prefix = true, .changeable = true},
    {.name = "cookie_", .get = get_cookie, .prefix = true, .changeable = true},
    {.name = "http_host", .get = get_known_field, .data = static_cast<uintptr_t>(HeaderId::host)},
    {.name = "http_user_agent",
     .get = get_known_field,
     .data = static_cast<uintptr_t>(HeaderId::user_agent)},
    {.name = "http_referer",
     .get = get_known_field,
     .data = static_cast<uintptr_t>(HeaderId::referer)},
    {.name = "http_cookie", .get = get_cookie_field},
    {.name = "content_length", .get = get_content_length, .cacheable = false},
    {.name = "content_type",
     .get = get_known_field,
     .data = static_cast<uintptr_t>(HeaderId::content_type)},
    {.name = "host", .get = get_host},
    {.name = "request_port", .get = get_request_port},
    {.name = "is_request_port", .get = get_is_request_port},
    {.name = "request", .get = get_request},
    {.name = "request_uri", .get = get_request_uri},
    {.name = "request_method", .get = get_method, .cacheable = false},
    {.name = "server_protocol", .get = get_protocol},
    {.name = "server_name", .get = get_server_name},
    {.name = "document_root", .get = get_document_root, .cacheable = false},
    {.name = "realpath_root", .get = get_realpath_root, .cacheable = false},
    {.name = "request_filename", .get = get_filename, .cacheable = false},
    {.name = "request_body", .get = get_body},
    {.name = "request_body_file", .get = get_body_file},
    {.name = "remote_user", .get = get_remote_user},
    {.name = "request_id", .get = get_request_id},
    {.name = "nginx_version", .get = get_version},
    {.name = "pid", .get = get_pid},
    {.name = "scheme", .get = get_scheme},
    {.name = "https", .get = get_https},
    {.name = "time_local", .get = get_time_local, .cacheable = false},
    {.name = "time_iso8601", .get = get_time_iso8601, .cacheable = false},
    {.name = "msec", .get = get_msec, .cacheable = false},
};

}  // namespace

void define_variables(Compiler& compiler) {
  for (const Definition& definition : kRequestVariables) define(compiler, definition);
  for (const char* name : {"x_forwarded_for", "via"}) {
    Variable variable;
    variable.name = std::string("http_") + name;
    variable.get = get_joined_field;
    variable.data = reinterpret_cast<uintptr_t>(name);
    compiler.variables().define(std::move(variable));
  }
  auto host_name =
      std::make_unique<std::string>(conf::lower_case(compiler.world().host_name().value));
  Definition hostname{.name = "hostname", .get = get_text};
  hostname.data =
      reinterpret_cast<uintptr_t>(&builder(compiler).graph().keep(std::move(host_name)));
  define(compiler, hostname);
  static constexpr const char* kCaptures[] = {"$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9"};
  for (uintptr_t number = 1; number <= 9; ++number) {
    define(compiler,
           {.name = kCaptures[number - 1], .get = get_capture, .cacheable = false, .data = number});
  }
  define_connection_variables(compiler);
  define_response_variables(compiler);
}

}  // namespace weir::http::core
