#include <catch2/catch.hpp>

#include "tests/modules/support/compiled.h"

// Every variable that nginx's core, upstream and proxy modules define is there, may be assigned
// where nginx allows it, and is computed as often.
using namespace weir;
using test::Compiled;

namespace {

struct Known {
  std::string_view name;  // "arg_*": every name that begins so
  bool computed_once;
  bool settable;
};

constexpr Known kKnown[] = {
    {"arg_*", false, true},
    {"args", false, true},
    {"binary_remote_addr", true, false},
    {"body_bytes_sent", true, false},
    {"bytes_sent", true, false},
    {"connection", true, false},
    {"connection_requests", true, false},
    {"connection_time", false, false},
    {"content_length", true, false},
    {"content_type", true, false},
    {"cookie_*", true, true},
    {"document_root", false, false},
    {"document_uri", false, false},
    {"host", true, false},
    {"hostname", true, false},
    {"http_*", true, true},
    {"http_cookie", true, false},
    {"http_host", true, false},
    {"http_referer", true, false},
    {"http_user_agent", true, false},
    {"http_via", true, false},
    {"http_x_forwarded_for", true, false},
    {"https", true, false},
    {"is_args", false, false},
    {"is_request_port", true, false},
    {"limit_rate", false, true},
    {"msec", false, false},
    {"nginx_version", true, false},
    {"pid", true, false},
    {"pipe", true, false},
    {"proxy_protocol_addr", true, false},
    {"proxy_protocol_port", true, false},
    {"proxy_protocol_server_addr", true, false},
    {"proxy_protocol_server_port", true, false},
    {"proxy_protocol_tlv_*", true, true},
    {"query_string", false, false},
    {"realpath_root", false, false},
    {"remote_addr", true, false},
    {"remote_port", true, false},
    {"remote_user", true, false},
    {"request", true, false},
    {"request_body", true, false},
    {"request_body_file", true, false},
    {"request_completion", true, false},
    {"request_filename", false, false},
    {"request_id", true, false},
    {"request_length", false, false},
    {"request_method", false, false},
    {"request_port", true, false},
    {"request_time", false, false},
    {"request_uri", true, false},
    {"scheme", true, false},
    {"sent_http_*", true, true},
    {"sent_http_cache_control", true, false},
    {"sent_http_connection", true, false},
    {"sent_http_content_length", true, false},
    {"sent_http_content_type", true, false},
    {"sent_http_keep_alive", true, false},
    {"sent_http_last_modified", true, false},
    {"sent_http_link", true, false},
    {"sent_http_location", true, false},
    {"sent_http_transfer_encoding", true, false},
    {"sent_trailer_*", true, true},
    {"server_addr", true, false},
    {"server_name", true, false},
    {"server_port", true, false},
    {"server_protocol", true, false},
    {"status", false, false},
    {"tcpinfo_rcv_space", false, false},
    {"tcpinfo_rtt", false, false},
    {"tcpinfo_rttvar", false, false},
    {"tcpinfo_snd_cwnd", false, false},
    {"time_iso8601", false, false},
    {"time_local", false, false},
    {"uri", false, false},
    {"proxy_add_x_forwarded_for", true, false},
    {"proxy_host", false, true},
    {"proxy_internal_body_length", false, false},
    {"proxy_internal_chunked", false, false},
    {"proxy_port", false, true},
    {"upstream_addr", false, false},
    {"upstream_bytes_received", false, false},
    {"upstream_bytes_sent", false, false},
    {"upstream_connect_time", false, false},
    {"upstream_cookie_*", false, true},
    {"upstream_header_time", false, false},
    {"upstream_http_*", false, true},
    {"upstream_response_length", false, false},
    {"upstream_response_time", false, false},
    {"upstream_status", false, false},
    {"upstream_trailer_*", false, true},
};

// nginx computes it once; weir anew: it is known late where a chunked body is read first.
bool is_computed_anew(std::string_view name) {
  return name == "content_length";
}

std::string example(const Known& known) {
  std::string name(known.name);
  if (name.ends_with('*')) name.replace(name.size() - 1, 1, "some_name");
  return name;
}

}  // namespace

TEST_CASE("variables: all of them exist") {
  for (const Known& known : kKnown) {
    const std::string name = example(known);
    INFO(name);
    const Compiled compiled("log_format f $" + name + ";");
    REQUIRE(compiled.problem() == "");
    const conf::VariableTable& table = compiled.graph().variables;
    bool found = false;
    for (size_t id = 0; id < table.size(); ++id) {
      const conf::Variable& variable = table[static_cast<conf::VariableId>(id)];
      if (variable.name != name) continue;
      found = true;
      CHECK(variable.get != nullptr);
      CHECK(variable.cacheable == (known.computed_once && !is_computed_anew(name)));
    }
    CHECK(found);
  }
}

TEST_CASE("variables: set is allowed where nginx allows it") {
  for (const Known& known : kKnown) {
    const std::string name = example(known);
    INFO(name);
    const Compiled compiled("server { set $" + name + " x; }");
    CHECK(compiled.problem() ==
          (known.settable ? "" : "the duplicate \"" + name + "\" variable in /p/nginx.conf:3"));
  }
}

TEST_CASE("variables: names have no case, and captures are numbers") {
  CHECK(Compiled("log_format f $REMOTE_addr$Arg_X;").problem() == "");
  CHECK(Compiled("server { location ~ (.) { return 200 $1$9${Arg_x}; } }").problem() == "");
  // A log format knows no captures.
  CHECK(Compiled("log_format f $1;").problem() == "unknown \"1\" variable");
  CHECK(Compiled("log_format f $0;").problem() == "unknown \"0\" variable");
  CHECK(Compiled("log_format f $no_such;").problem() == "unknown \"no_such\" variable");
}
