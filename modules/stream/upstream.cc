#include "modules/shared/upstream.h"

#include <charconv>

#include "engine/stream/builder.h"
#include "modules/stream/modules.h"
#include "modules/stream/upstream_record.h"
#include "modules/stream/values.h"

// ngx_stream_upstream_module: registers the shared upstream blocks with stream, and has $upstream_…
namespace weir::stream {
namespace {

using conf::Compiler;
using conf::Directive;
using conf::Scope;
using conf::Value;
using conf::Variable;
using conf::VariableSource;

constexpr Directive kDirectives[] = {
    shared::in_upstream(conf::kStream, shared::kUpstreamRow),
    shared::in_upstream(conf::kStreamUpstream, shared::kServerRow),
    shared::in_upstream(conf::kStreamUpstream, shared::kZoneRow),
    shared::in_upstream(conf::kStreamUpstream, shared::kResolverRow),
    shared::in_upstream(conf::kStreamUpstream, shared::kResolverTimeoutRow),
    shared::in_upstream(conf::kStreamUpstream, shared::kHashRow),
    shared::in_upstream(conf::kStreamUpstream, shared::kLeastConnectionsRow),
    shared::in_upstream(conf::kStreamUpstream, shared::kLeastTimeRow),
    shared::in_upstream(conf::kStreamUpstream, shared::kRandomRow),
    shared::in_upstream(conf::kStreamUpstream, shared::kRetryBudgetRow),
    shared::in_upstream(conf::kStream, shared::kStartUnresolvedRow),
};

using AppendFact = void (*)(std::string&, const UpstreamAttempt&);

// "a, b": one for each attempt.
template <AppendFact append>
Value list(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  if (session.content()) session.content()->update();
  const auto* record = session.peek<UpstreamRecord>();
  if (!record || record->attempts.empty()) return Value::none();
  std::string text;
  for (const UpstreamAttempt& attempt : record->attempts) {
    if (!text.empty()) text += ", ";
    append(text, attempt);
  }
  return Value::of(session.copy(text));
}

void append_address(std::string& text, const UpstreamAttempt& attempt) {
  text += attempt.peer;
}

template <uint64_t UpstreamAttempt::* Field>
void append_number(std::string& text, const UpstreamAttempt& attempt) {
  text += std::to_string(attempt.*Field);
}

template <int64_t UpstreamAttempt::* Field>
void append_time(std::string& text, const UpstreamAttempt& attempt) {
  const int64_t time = attempt.*Field;
  if (time < 0) {
    text += '-';
    return;
  }
  const std::string rest = std::to_string(time % 1000);
  text += std::to_string(time / 1000) + "." + std::string(3 - rest.size(), '0') + rest;
}

Value retry_refused(VariableSource& source, const Variable&) {
  const auto* record = session_of(source).peek<UpstreamRecord>();
  return record && record->retry_refused ? Value::of("1") : Value::none();
}

constexpr Definition kVariables[] = {
    {.name = "upstream_addr", .get = list<append_address>, .cacheable = false},
    {.name = "upstream_bytes_sent",
     .get = list<append_number<&UpstreamAttempt::bytes_sent>>,
     .cacheable = false},
    {.name = "upstream_connect_time",
     .get = list<append_time<&UpstreamAttempt::connect_time>>,
     .cacheable = false},
    {.name = "upstream_first_byte_time",
     .get = list<append_time<&UpstreamAttempt::first_byte_time>>,
     .cacheable = false},
    {.name = "upstream_session_time",
     .get = list<append_time<&UpstreamAttempt::session_time>>,
     .cacheable = false},
    {.name = "upstream_bytes_received",
     .get = list<append_number<&UpstreamAttempt::bytes_received>>,
     .cacheable = false},
    {.name = "upstream_retry_refused", .get = retry_refused, .cacheable = false},
};

void prepare(Compiler& compiler, Scope&) {
  compiler.state<shared::StreamUpstreams>().begin(builder(compiler).graph().clusters);
  for (const Definition& definition : kVariables) define(compiler, definition);
}

}  // namespace

const conf::Module kUpstreamModule = {
    .name = "ngx_stream_upstream_module",
    .directives = kDirectives,
    .prepare = prepare,
    .complete = shared::complete_upstreams<shared::StreamUpstreams, CoreSettings>,
    .root = conf::kStream,
};

}  // namespace weir::stream
