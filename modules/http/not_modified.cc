#include "engine/http/builder.h"
#include "engine/http/core_settings.h"
#include "engine/http/date.h"
#include "engine/http/request.h"
#include "modules/http/modules.h"

// ngx_http_not_modified_filter_module: conditional requests (RFC 9110, section 13).
namespace weir::http {

namespace {

enum class Comparison : uint8_t { strong, weak };

std::string_view without_weak_mark(std::string_view tag) {
  if (tag.starts_with("W/")) tag.remove_prefix(2);
  return tag;
}

// Is our entity tag in the field's list, or is that "*"?
bool lists_tag(const Request& request, std::string_view list, Comparison comparison) {
  if (list == "*") return true;
  std::string_view own = request.response().etag;
  if (own.empty()) return false;
  if (comparison == Comparison::weak) {
    own = without_weak_mark(own);
  } else if (own.starts_with("W/")) {
    return false;
  }
  while (!list.empty()) {
    if (comparison == Comparison::weak) list = without_weak_mark(list);
    if (list.starts_with(own)) {
      std::string_view rest = list.substr(own.size());
      while (!rest.empty() && (rest[0] == ' ' || rest[0] == '\t')) rest.remove_prefix(1);
      if (rest.empty() || rest[0] == ',') return true;
    }
    const size_t comma = list.find(',');
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma);
    while (!list.empty() && (list[0] == ' ' || list[0] == '\t' || list[0] == ','))
      list.remove_prefix(1);
  }
  return false;
}

bool is_modified_since(const Request& request, std::string_view field) {
  const int64_t modified = request.response().last_modified;
  const auto rule = request.settings<CoreSettings>().if_modified_since;
  if (modified < 0 || rule == IfModifiedSince::off) return true;
  const int64_t since = parse_date(field).value_or(-1);
  if (since == modified) return false;
  return rule == IfModifiedSince::exact || since < modified;
}

void answer_not_modified(Response& response) {
  response.status = 304;
  response.reason = {};
  response.content_type = {};
  response.content_length = -1;
  response.header_only = true;
  response.headers.remove(HeaderId::content_encoding);
  response.headers.remove(HeaderId::accept_ranges);
  response.allow_ranges = false;
}

void filter_head(Request& request) {
  Response& response = request.response();
  if (response.status != 200 || !request.is_main() || !response.not_modified_test) return;
  const HeaderList& fields = request.headers();
  if (const Header* field = fields.find(HeaderId::if_unmodified_since)) {
    const int64_t since = parse_date(field->value).value_or(-1);
    if (response.last_modified < 0 || since < response.last_modified)
      return request.replace_response(412);
  }
  if (const Header* field = fields.find(HeaderId::if_match)) {
    if (!lists_tag(request, field->value, Comparison::strong)) return request.replace_response(412);
  }
  const Header* modified = fields.find(HeaderId::if_modified_since);
  const Header* none_match = fields.find(HeaderId::if_none_match);
  if (!modified && !none_match) return;
  if (modified && is_modified_since(request, modified->value)) return;
  if (none_match && !lists_tag(request, none_match->value, Comparison::weak)) return;
  answer_not_modified(response);
}

void complete(conf::Compiler& compiler, conf::Scope&) {
  builder(compiler).add_head_filter(filter_head);
}

}  // namespace

const conf::Module kNotModifiedModule{.name = "ngx_http_not_modified_filter_module",
                                      .complete = complete};

}  // namespace weir::http
