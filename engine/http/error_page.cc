#include "engine/http/error_page.h"

#include <algorithm>

#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/request.h"
#include "engine/http/uri.h"
#include "engine/http/writer.h"

namespace weir::http {
namespace {

struct Page {
  int status;
  std::string_view text;
};

#define WEIR_PAGE(title, rest) \
  "<html>\r\n<head><title>" title "</title></head>\r\n<body>\r\n<center><h1>" rest "\r\n"
#define WEIR_PLAIN_PAGE(title) WEIR_PAGE(title, title "</h1></center>")
#define WEIR_BAD_REQUEST_PAGE(why) \
  WEIR_PAGE("400 " why, "400 Bad Request</h1></center>\r\n<center>" why "</center>")

constexpr Page kPages[] = {
    {301, WEIR_PLAIN_PAGE("301 Moved Permanently")},
    {302, WEIR_PLAIN_PAGE("302 Found")},
    {303, WEIR_PLAIN_PAGE("303 See Other")},
    {307, WEIR_PLAIN_PAGE("307 Temporary Redirect")},
    {308, WEIR_PLAIN_PAGE("308 Permanent Redirect")},
    {400, WEIR_PLAIN_PAGE("400 Bad Request")},
    {401, WEIR_PLAIN_PAGE("401 Authorization Required")},
    {402, WEIR_PLAIN_PAGE("402 Payment Required")},
    {403, WEIR_PLAIN_PAGE("403 Forbidden")},
    {404, WEIR_PLAIN_PAGE("404 Not Found")},
    {405, WEIR_PLAIN_PAGE("405 Not Allowed")},
    {406, WEIR_PLAIN_PAGE("406 Not Acceptable")},
    {408, WEIR_PLAIN_PAGE("408 Request Time-out")},
    {409, WEIR_PLAIN_PAGE("409 Conflict")},
    {410, WEIR_PLAIN_PAGE("410 Gone")},
    {411, WEIR_PLAIN_PAGE("411 Length Required")},
    {412, WEIR_PLAIN_PAGE("412 Precondition Failed")},
    {413, WEIR_PLAIN_PAGE("413 Request Entity Too Large")},
    {414, WEIR_PLAIN_PAGE("414 Request-URI Too Large")},
    {415, WEIR_PLAIN_PAGE("415 Unsupported Media Type")},
    {416, WEIR_PLAIN_PAGE("416 Requested Range Not Satisfiable")},
    {421, WEIR_PLAIN_PAGE("421 Misdirected Request")},
    {429, WEIR_PLAIN_PAGE("429 Too Many Requests")},
    {494, WEIR_BAD_REQUEST_PAGE("Request Header Or Cookie Too Large")},
    {495, WEIR_BAD_REQUEST_PAGE("The SSL certificate error")},
    {496, WEIR_BAD_REQUEST_PAGE("No required SSL certificate was sent")},
    {497, WEIR_BAD_REQUEST_PAGE("The plain HTTP request was sent to HTTPS port")},
    {498, WEIR_PLAIN_PAGE("404 Not Found")},
    {500, WEIR_PLAIN_PAGE("500 Internal Server Error")},
    {501, WEIR_PLAIN_PAGE("501 Not Implemented")},
    {502, WEIR_PLAIN_PAGE("502 Bad Gateway")},
    {503, WEIR_PLAIN_PAGE("503 Service Temporarily Unavailable")},
    {504, WEIR_PLAIN_PAGE("504 Gateway Time-out")},
    {505, WEIR_PLAIN_PAGE("505 HTTP Version Not Supported")},
    {507, WEIR_PLAIN_PAGE("507 Insufficient Storage")},
};

#define WEIR_TAIL(name) "<hr><center>" name "</center>\r\n</body>\r\n</html>\r\n"

std::string_view page_tail(Arena& arena, ServerTokens tokens) {
  if (tokens == ServerTokens::off) return WEIR_TAIL("nginx");
  ArenaText text(arena, 96);
  text.append("<hr><center>");
  text.append(server_text(tokens));
  text.append("</center>\r\n</body>\r\n</html>\r\n");
  return text.view();
}

constexpr std::string_view kPadding =
    "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n"
    "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n"
    "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n"
    "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n"
    "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n"
    "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n";

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// After these nothing that follows on the connection can be trusted, or is wanted.
bool ends_connection(int status) {
  switch (status) {
    case 400:
    case 413:
    case 414:
    case 495:
    case 496:
    case 497:
    case 500:
    case 501:
      return true;
    default:
      return false;
  }
}

const ErrorPageRule* find_rule(const CoreSettings& settings, int status) {
  for (const ErrorPageRule& rule : settings.error_pages) {
    if (std::find(rule.codes.begin(), rule.codes.end(), status) != rule.codes.end()) return &rule;
  }
  return nullptr;
}

}  // namespace

std::string_view special_page(int status) {
  for (const Page& page : kPages) {
    if (page.status == status) return page.text;
  }
  return {};
}

AgentFacts agent_facts(const Request& request) {
  AgentFacts facts;
  const Header* agent = request.headers().find(HeaderId::user_agent);
  if (agent == nullptr) return facts;
  std::string_view text = agent->value;
  size_t msie = text.find("MSIE ");
  if (msie != text.npos && msie + 7 < text.size()) {
    facts.msie = true;
    if (text[msie + 6] == '.') {
      char version = text[msie + 5];
      if (version == '4' || version == '5') facts.msie6 = true;
      if (version == '6') facts.msie6 = text.find("SV1", msie + 8) == text.npos;
    }
  }
  if (text.find("Opera") != text.npos) return AgentFacts();
  if (facts.msie || text.find("Gecko/") != text.npos) return facts;
  if (text.find("Chrome/") != text.npos) {
    facts.chrome = true;
  } else if (text.find("Safari/") != text.npos && text.find("Mac OS X") != text.npos) {
    facts.safari = true;
  }
  return facts;
}

PhaseResult ErrorPages::answer(Request& request, int status) {
  Exchange& exchange = request.exchange();
  request.error_status_ = status;
  if (ends_connection(status)) exchange.disable_keep_alive();
  if (status == 400 || (status >= 495 && status <= 497)) exchange.disable_lingering();
  request.response_.content_type = {};
  request.response_.reason = {};
  PhaseResult result = PhaseResult::done();
  if (use_error_page(request, status, result)) return result;
  const auto& settings = request.settings<CoreSettings>();
  if (settings.msie_refresh && (status == 301 || status == 302) && agent_facts(request).msie) {
    return send_refresh(request);
  }
  return send_page(request, status);
}

bool ErrorPages::use_error_page(Request& request, int status, PhaseResult& result) {
  const auto& settings = request.settings<CoreSettings>();
  if (request.error_page_ || settings.error_pages.empty() || request.uri_changes_left_ == 0) {
    return false;
  }
  const ErrorPageRule* rule = find_rule(settings, status);
  if (rule == nullptr) return false;
  if (!settings.recursive_error_pages) request.error_page_ = true;
  // Clients know nothing of 494 to 497.
  const int overwrite =
      rule->overwrite == -1 && status >= 494 && status <= 497 ? 400 : rule->overwrite;
  if (overwrite != -1 && overwrite != 200) request.exchange().body().no_continue();
  if (overwrite >= 0) request.error_status_ = overwrite;
  std::string_view target = rule->target.evaluate(request);
  if (!target.empty() && target[0] == '/') {
    SplitUri split{target, rule->args};
    if (!rule->target.is_literal() || rule->args.empty()) split = split_args(target);
    if (!rule->target.is_literal() && split.args.empty()) split.args = "";
    if (request.current_.method != Method::head) {
      request.current_.method = Method::get;
      request.current_.method_text = "GET";
    }
    result = request.redirect(split.uri, split.args);
    return true;
  }
  if (!target.empty() && target[0] == '@') {
    result = request.redirect_named(target);
    return true;
  }
  request.exchange().body().no_continue();
  if (!is_redirect(rule->overwrite)) request.error_status_ = 302;
  request.response_.location = target;
  if (settings.msie_refresh && agent_facts(request).msie) {
    result = send_refresh(request);
  } else {
    result = send_page(request, request.error_status_);
  }
  return true;
}

PhaseResult ErrorPages::send_page(Request& request, int status) {
  const auto& settings = request.settings<CoreSettings>();
  Response& response = request.response_;
  if (request.is_main()) {
    ClientBody& body = request.exchange().body();
    body.no_continue();
    body.discard();
  }
  if (status >= 494 && status <= 497) request.error_status_ = 400;
  std::string_view page = special_page(status);
  Chain data;
  if (!page.empty()) {
    data.push(Slice::borrowed(page));
    data.push(Slice::borrowed(page_tail(request.arena(), settings.server_tokens)));
    if (settings.msie_padding && status >= 400 && request.received().version >= Version::http_1_0) {
      AgentFacts agent = agent_facts(request);
      if (agent.msie || agent.chrome) data.push(Slice::borrowed(kPadding));
    }
    response.content_type = "text/html";
  }
  response.status = request.error_status_;
  response.built_in_page = true;
  response.content_length = static_cast<int64_t>(data.bytes());
  response.allow_ranges = false;
  response.headers.remove(HeaderId::accept_ranges);
  response.headers.remove(HeaderId::etag);
  response.headers.remove(HeaderId::last_modified);
  response.last_modified = -1;
  response.last_modified_text = {};
  response.etag = {};
  if (request.send_head()) request.send(std::move(data), true);
  return PhaseResult::done();
}

// For browsers that show no page of a redirect: a page that refreshes itself.
PhaseResult ErrorPages::send_refresh(Request& request) {
  Response& response = request.response_;
  std::string_view location = escape(request.arena(), response.location, Escape::refresh);
  response.location = {};
  Chain data;
  data.push(Slice::borrowed("<html><head><meta http-equiv=\"Refresh\" content=\"0; URL="));
  data.push(Slice::borrowed(location));
  data.push(Slice::borrowed("\"></head><body></body></html>\r\n"));
  request.error_status_ = 200;
  response.status = 200;
  response.content_type = "text/html";
  response.content_length = static_cast<int64_t>(data.bytes());
  response.last_modified = -1;
  response.last_modified_text = {};
  response.etag = {};
  if (request.is_main()) request.exchange().body().discard();
  if (request.send_head()) request.send(std::move(data), true);
  return PhaseResult::done();
}

}  // namespace weir::http
