#include "engine/http/gateway_variables.h"

#include <charconv>

#include "confparse/value.h"
#include "engine/http/request.h"
#include "engine/http/upstream_record.h"

namespace weir::http {
namespace {

using conf::Value;
using conf::Variable;
using conf::VariableSource;

Request& request_of(VariableSource& source) {
  return static_cast<Request&>(source);
}

void append_number(ArenaText& text, uint64_t number) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  text.append({digits, static_cast<size_t>(end - digits)});
}

void append_time(ArenaText& text, int64_t milliseconds) {
  if (milliseconds < 0) return text.append("-");
  append_number(text, static_cast<uint64_t>(milliseconds / 1000));
  const auto rest = static_cast<unsigned>(milliseconds % 1000);
  const char digits[4] = {'.', static_cast<char>('0' + rest / 100),
                          static_cast<char>('0' + rest / 10 % 10),
                          static_cast<char>('0' + rest % 10)};
  text.append({digits, 4});
}

using AppendFact = void (*)(ArenaText&, const UpstreamAttempt&);

// "a, b : c": attempts of one upstream request are separated by commas, requests by colons.
template <AppendFact append>
Value list(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const UpstreamRecord* record = request.upstream_record;
  if (!record || record->attempts.empty()) return Value::none();
  const auto& attempts = record->attempts;
  ArenaText text(request.arena());
  size_t i = 0;
  for (;;) {
    append(text, attempts[i]);
    if (++i == attempts.size()) break;
    if (!attempts[i].peer.empty()) {
      text.append(", ");
      continue;
    }
    text.append(" : ");
    if (++i == attempts.size()) break;
  }
  return Value::of(text.view());
}

void append_address(ArenaText& text, const UpstreamAttempt& attempt) {
  text.append(attempt.peer);
}
void append_status(ArenaText& text, const UpstreamAttempt& attempt) {
  if (attempt.status) {
    append_number(text, static_cast<uint64_t>(attempt.status));
  } else {
    text.append("-");
  }
}
void append_response_time(ArenaText& text, const UpstreamAttempt& attempt) {
  append_time(text, attempt.response_time);
}
void append_connect_time(ArenaText& text, const UpstreamAttempt& attempt) {
  append_time(text, attempt.connect_time);
}
void append_header_time(ArenaText& text, const UpstreamAttempt& attempt) {
  append_time(text, attempt.header_time);
}
void append_queue_time(ArenaText& text, const UpstreamAttempt& attempt) {
  append_time(text, attempt.queue_time);
}
void append_response_length(ArenaText& text, const UpstreamAttempt& attempt) {
  append_number(text, attempt.response_length);
}
void append_bytes_sent(ArenaText& text, const UpstreamAttempt& attempt) {
  append_number(text, attempt.bytes_sent);
}
void append_bytes_received(ArenaText& text, const UpstreamAttempt& attempt) {
  append_number(text, attempt.bytes_received);
}

// A field is named in a variable in lower case with '_' for '-'.
bool named(std::string_view field, std::string_view variable) {
  if (field.size() != variable.size()) return false;
  for (size_t i = 0; i < field.size(); ++i) {
    char c = field[i];
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    if (c == '-') c = '_';
    if (c != variable[i]) return false;
  }
  return true;
}

// All values of the field, joined by ", ".
Value find_field(Request& request, const HeaderList* headers, std::string_view name) {
  if (!headers) return Value::none();
  const Header* first = nullptr;
  const Header* second = nullptr;
  for (const Header& header : *headers) {
    if (!named(header.name, name)) continue;
    if (first) {
      second = &header;
      break;
    }
    first = &header;
  }
  if (!first) return Value::none();
  if (!second) return Value::of(first->value);
  ArenaText text(request.arena());
  text.append(first->value);
  for (const Header* at = second; at != headers->end(); ++at) {
    if (!named(at->name, name)) continue;
    text.append(", ");
    text.append(at->value);
  }
  return Value::of(text.view());
}

Value response_field(VariableSource& source, const Variable& variable) {
  Request& request = request_of(source);
  const UpstreamRecord* record = request.upstream_record;
  if (!record) return Value::none();
  const std::string_view name = variable.suffix();
  const Value value = find_field(request, record->headers, name);
  // As in nginx these two are always there, if empty.
  const bool expected = record->headers && (name == "server" || name == "date");
  return value.found || !expected ? value : Value::of("");
}

Value trailer_field(VariableSource& source, const Variable& variable) {
  Request& request = request_of(source);
  const UpstreamRecord* record = request.upstream_record;
  return record ? find_field(request, record->trailers, variable.suffix()) : Value::none();
}

Value cookie(VariableSource& source, const Variable& variable) {
  const UpstreamRecord* record = request_of(source).upstream_record;
  if (!record || !record->headers) return Value::none();
  const std::string_view name = variable.suffix();
  for (const Header& header : *record->headers) {
    if (header.id != HeaderId::set_cookie) continue;
    const size_t equals = header.value.find('=');
    if (equals == std::string_view::npos) continue;
    if (!conf::equal_without_case(header.value.substr(0, equals), name)) continue;
    std::string_view value = header.value.substr(equals + 1);
    value = value.substr(0, value.find(';'));
    return Value::of(value);
  }
  return Value::none();
}

Value retry_refused(VariableSource& source, const Variable&) {
  const UpstreamRecord* record = request_of(source).upstream_record;
  return record && record->retry_refused ? Value::of("1") : Value::none();
}

Value not_found(VariableSource&, const Variable&) {
  return Value::none();
}

void define(conf::VariableTable& variables, const char* name, conf::VariableGet get) {
  Variable variable;
  variable.name = name;
  variable.get = get;
  variable.cacheable = false;
  variables.define(std::move(variable));
}

void define_prefix(conf::VariableTable& variables, const char* name, conf::VariableGet get) {
  Variable variable;
  variable.name = name;
  variable.get = get;
  variable.cacheable = false;
  variable.changeable = true;
  variable.prefix = true;
  variable.weak = true;
  variables.define(std::move(variable));
}

}  // namespace

void define_gateway_variables(conf::VariableTable& variables) {
  define(variables, "upstream_addr", list<append_address>);
  define(variables, "upstream_status", list<append_status>);
  define(variables, "upstream_response_time", list<append_response_time>);
  define(variables, "upstream_connect_time", list<append_connect_time>);
  define(variables, "upstream_header_time", list<append_header_time>);
  define(variables, "upstream_queue_time", list<append_queue_time>);
  define(variables, "upstream_response_length", list<append_response_length>);
  define(variables, "upstream_bytes_sent", list<append_bytes_sent>);
  define(variables, "upstream_bytes_received", list<append_bytes_received>);
  define(variables, "upstream_cache_status", not_found);
  define(variables, "upstream_cache_last_modified", not_found);
  define(variables, "upstream_cache_etag", not_found);
  define(variables, "upstream_retry_refused", retry_refused);
  define_prefix(variables, "upstream_http_", response_field);
  define_prefix(variables, "upstream_trailer_", trailer_field);
  define_prefix(variables, "upstream_cookie_", cookie);
}

}  // namespace weir::http
