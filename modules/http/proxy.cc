#include "modules/http/proxy.h"

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "modules/http/gateway_directives.h"
#include "modules/http/modules.h"

template <>
struct weir::conf::EnumWords<weir::http::proxy::HttpVersion> {
  using E = weir::http::proxy::HttpVersion;
  static constexpr std::pair<std::string_view, E> words[] = {
      {"1.0", E::http_1_0}, {"1.1", E::http_1_1}, {"2", E::http_2}};
};

template <>
struct weir::conf::EnumWords<weir::http::NextUpstream> {
  using E = weir::http::NextUpstream;
  static constexpr std::pair<std::string_view, E> words[] = {{"error", E::error},
                                                             {"timeout", E::timeout},
                                                             {"invalid_header", E::invalid_header},
                                                             {"non_idempotent", E::non_idempotent},
                                                             {"http_500", E::http_500},
                                                             {"http_502", E::http_502},
                                                             {"http_503", E::http_503},
                                                             {"http_504", E::http_504},
                                                             {"http_403", E::http_403},
                                                             {"http_404", E::http_404},
                                                             {"http_429", E::http_429},
                                                             {"updating", E::updating},
                                                             {"off", E::off}};
};

#ifndef WEIR_PROXY_TEMP_PATH
#define WEIR_PROXY_TEMP_PATH "proxy_temp"
#endif

namespace weir::http {
namespace proxy {
namespace {

using conf::Directive;
using conf::Form;
using conf::into;
using conf::kHttpServerLocation;
using conf::Merge;
using conf::Repeat;

// into<> for the part that all gateways share.
template <auto Member>
constexpr conf::SetFunction shared = gateway_rows::into<ProxySettings, Member>;

using G = GatewaySettings;

constexpr Directive kOwnRows[] = {
    {.name = "proxy_pass",
     .where = conf::kLocation | conf::kIfInLocation | conf::kLimitExcept,
     .args = {1, 1},
     .merge = Merge::own_or_if,
     .set = set_pass,
     .doc = "Passes requests to this server or group, with the path replaced when it has one."},
    {.name = "proxy_redirect",
     .where = kHttpServerLocation,
     .args = {1, 2},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = set_redirect,
     .doc = "How Location and Refresh of responses are rewritten; default: the inverse of "
            "proxy_pass."},
    {.name = "proxy_cookie_domain",
     .where = kHttpServerLocation,
     .args = {1, 2},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = set_cookie_domain,
     .doc = "Rewrites the domain of cookies that the upstream sets."},
    {.name = "proxy_cookie_path",
     .where = kHttpServerLocation,
     .args = {1, 2},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = set_cookie_path,
     .doc = "Rewrites the path of cookies that the upstream sets."},
    {.name = "proxy_cookie_flags",
     .where = kHttpServerLocation,
     .args = {1, 4},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = set_cookie_flags,
     .doc = "Sets or clears flags of cookies that the upstream sets."},
    {.name = "proxy_buffering",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "on",
     .set = shared<&G::buffering>,
     .doc = "Takes the response from the upstream as fast as it comes."},
    {.name = "proxy_request_buffering",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "on",
     .set = shared<&G::request_buffering>,
     .doc = "Reads the whole request body before an upstream is chosen."},
    {.name = "proxy_ignore_client_abort",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = shared<&G::ignore_client_abort>,
     .doc = "Goes on waiting for the response when the client has left."},
    {.name = "proxy_send_lowat",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .set = set_send_lowat,
     .doc = "Without effect on Linux."},
    {.name = "proxy_headers_hash_max_size",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .initial = "512",
     .set = into<&ProxySettings::headers_hash_max_size>,
     .doc = "Checked; there is no such table."},
    {.name = "proxy_headers_hash_bucket_size",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .initial = "64",
     .set = into<&ProxySettings::headers_hash_bucket_size>,
     .doc = "Checked; there is no such table."},
    {.name = "proxy_set_body",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .set = set_body,
     .doc = "A body instead of the client's."},
    {.name = "proxy_method",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .set = into<&ProxySettings::method>,
     .doc = "A method instead of the client's."},
    {.name = "proxy_pass_request_headers",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "on",
     .set = shared<&G::pass_request_headers>,
     .doc = "Passes the client's fields."},
    {.name = "proxy_pass_request_body",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "on",
     .set = shared<&G::pass_request_body>,
     .doc = "Passes the client's body."},
    {.name = "proxy_pass_trailers",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = shared<&G::pass_trailers>,
     .doc = "Passes trailer fields of responses."},
    {.name = "proxy_buffers",
     .where = kHttpServerLocation,
     .args = {2, 2},
     .initial = "8 4k",
     .set = shared<&G::buffers>,
     .doc = "Memory for the part of a response that the client has not taken."},
    {.name = "proxy_busy_buffers_size",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .set = shared<&G::busy_buffers_size>,
     .doc = "Checked; what is being sent counts as memory like the rest."},
    {.name = "proxy_force_ranges",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = shared<&G::force_ranges>,
     .doc = "Answers range requests whatever the upstream says."},
    {.name = "proxy_limit_rate",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .set = set_limit_rate,
     .doc = "Bytes per second taken from the upstream."},
    {.name = "proxy_temp_path",
     .where = kHttpServerLocation,
     .args = {1, 4},
     .initial = WEIR_PROXY_TEMP_PATH,
     .set = set_temp_path,
     .doc = "Folder for responses that do not fit into memory."},
    {.name = "proxy_max_temp_file_size",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .set = shared<&G::max_temp_file_size>,
     .doc = "Most bytes of a response in a file; 0: none."},
    {.name = "proxy_temp_file_write_size",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .set = shared<&G::temp_file_write_size>,
     .doc = "Checked; what has come is written at once."},
    {.name = "proxy_http_version",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .initial = "1.1",
     .set = into<&ProxySettings::http_version>,
     .doc = "Version of the protocol spoken to the upstream."},
};

constexpr auto kDirectives =
    join_rows(kOwnRows, kGatewayRows<ProxySettings, "proxy_", NextUpstream>,
              kUpstreamTlsRows<ProxySettings, "proxy_", kHttpServerLocation>);

void prepare(Compiler& compiler, Scope&) {
  define_variables(compiler.variables());
}

}  // namespace
}  // namespace proxy

const conf::Module kProxyModule = {
    .name = "ngx_http_proxy_module",
    .directives = proxy::kDirectives,
    .prepare = proxy::prepare,
    .finish = proxy::finish,
    .root = conf::kHttp,
};

}  // namespace weir::http
