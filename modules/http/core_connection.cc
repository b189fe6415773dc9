#include "confparse/setters.h"
#include "engine/http/core_settings.h"
#include "modules/http/core.h"

// ngx_http_core_module: directives about the client's connection.
namespace weir::http::core {

namespace {

using namespace conf;

struct ConnectionTuning {
  Bytes send_lowat;
};

constexpr uint32_t kAll = kHttpServerLocation;

constexpr Directive kDirectives[] = {
    {.name = "keepalive_timeout",
     .where = kAll,
     .args = {1, 2},
     .initial = "75s",
     .set = set_keepalive_timeout,
     .doc = "How long an idle connection stays; second: the Keep-Alive field's value."},
    {.name = "keepalive_requests",
     .where = kAll,
     .args = {1, 1},
     .initial = "1000",
     .set = into<&CoreSettings::keepalive_requests>,
     .doc = "Requests of one connection."},
    {.name = "keepalive_time",
     .where = kAll,
     .args = {1, 1},
     .initial = "1h",
     .set = into<&CoreSettings::keepalive_time>,
     .doc = "Age after which a connection is closed after its request."},
    {.name = "keepalive_min_timeout",
     .where = kAll,
     .args = {1, 1},
     .initial = "0",
     .set = into<&CoreSettings::keepalive_min_timeout>,
     .doc = "An idle connection is not closed earlier on reload or exit."},
    {.name = "keepalive_disable",
     .where = kAll,
     .args = {1, 2},
     .repeat = Repeat::collect,
     .initial = "msie6",
     .set = into<&CoreSettings::keepalive_disable>,
     .doc = "Browsers that get no keep-alive."},
    {.name = "lingering_close",
     .where = kAll,
     .args = {1, 1},
     .initial = "on",
     .set = into<&CoreSettings::lingering_close>,
     .doc = "Read what a client still sends before closing."},
    {.name = "lingering_time",
     .where = kAll,
     .args = {1, 1},
     .initial = "30s",
     .set = into<&CoreSettings::lingering_time>,
     .doc = "Longest lingering in all."},
    {.name = "lingering_timeout",
     .where = kAll,
     .args = {1, 1},
     .initial = "5s",
     .set = into<&CoreSettings::lingering_timeout>,
     .doc = "Longest wait for more while lingering."},
    {.name = "send_timeout",
     .where = kAll,
     .args = {1, 1},
     .initial = "60s",
     .set = into<&CoreSettings::send_timeout>,
     .doc = "Time between two writes to a client."},
    {.name = "send_lowat",
     .where = kAll,
     .args = {1, 1},
     .set =
         [](Compiler& compiler, Scope& scope, const Statement& statement) {
           into<&ConnectionTuning::send_lowat>(compiler, scope, statement);
           if (parse_size(statement.argument(0)))
             compiler.warn(statement, "\"send_lowat\" is not supported, ignored");
         },
     .doc = "Checked; ignored on Linux, as in nginx."},
    {.name = "postpone_output",
     .where = kAll,
     .args = {1, 1},
     .initial = "1460",
     .set = into<&CoreSettings::postpone_output>,
     .doc = "Bytes to gather before writing, if more may come."},
    {.name = "reset_timedout_connection",
     .where = kAll,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&CoreSettings::reset_timedout_connection>,
     .doc = "RST for connections that timed out or ended with 444."},
    {.name = "chunked_transfer_encoding",
     .where = kAll,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "on",
     .set = into<&CoreSettings::chunked_transfer_encoding>,
     .doc = "Chunked coding towards HTTP/1.1 clients."},
};

}  // namespace

std::span<const conf::Directive> connection_directives() {
  return kDirectives;
}

}  // namespace weir::http::core
