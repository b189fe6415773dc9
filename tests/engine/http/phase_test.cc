// Phases, redirects, error pages, subrequests.

#include <catch2/catch.hpp>

#include "tests/engine/http/rig.h"

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;

namespace {

std::string get(Rig& rig, const std::string& path, const std::string& fields = "") {
  Client client(rig);
  return client.ask("GET " + path + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n");
}

PhaseResult show(Request& request) {
  ArenaText text(request.arena());
  text.append(request.current().method_text);
  text.push_back(' ');
  text.append(request.current().uri);
  text.push_back('?');
  text.append(request.current().args);
  return request.respond(200, "text/plain", text.view());
}
PhaseResult to_rewritten(Request& request) {
  if (request.current().uri == "/old") request.rewrite_uri("/new", true);
  if (request.current().uri.starts_with("/loop")) request.rewrite_uri("/loop", true);
  return PhaseResult::next();
}
PhaseResult forbid(Request&) {
  return PhaseResult::status(403);
}
PhaseResult unauthorized(Request&) {
  return PhaseResult::status(401);
}
PhaseResult allow(Request&) {
  return PhaseResult::pass();
}
PhaseResult missing(Request&) {
  return PhaseResult::status(404);
}
PhaseResult broken(Request&) {
  return PhaseResult::status(500);
}
PhaseResult internally(Request& request) {
  return request.redirect("/shown", "a=b");
}
PhaseResult internally_again(Request& request) {
  return request.redirect("/again", "");
}
PhaseResult to_named(Request& request) {
  return request.redirect_named("@name");
}

ErrorPageRule rule(std::vector<int> codes, const std::string& target, int overwrite = -1) {
  ErrorPageRule made;
  made.codes = std::move(codes);
  made.target = conf::Template::literal(target);
  made.overwrite = overwrite;
  return made;
}

Task<PhaseResult> ask_first(Request& request) {
  Request* child = request.start_subrequest("/shown", "x", SubrequestOutput::capture_body);
  while (!child->finished()) {
    const Wait waited = co_await request.event().wait();
    if (waited == Wait::cancelled) co_return PhaseResult::status(500);
  }
  std::string text = std::to_string(child->finish_status()) + ":";
  for (size_t i = 0; i < child->captured().count(); ++i) text += child->captured()[i].view();
  co_return request.respond(200, "text/plain", request.arena().copy(text));
}
PhaseResult with_subrequest(Request& request) {
  return PhaseResult::pending(ask_first(request));
}

Task<PhaseResult> slow_answer(Request& request) {
  uint64_t until = request.worker().loop.now() + 5;
  while (request.worker().loop.now() < until) co_await request.event().wait(5);
  co_return request.respond(200, {}, "slow");
}
PhaseResult slow(Request& request) {
  return PhaseResult::pending(slow_answer(request));
}

// head, then two subrequests in place, the slow one first, then a tail.
PhaseResult page(Request& request) {
  request.response().status = 200;
  request.send_head();
  Chain data;
  data.push(Slice::borrowed("["));
  request.send(std::move(data), false);
  request.start_subrequest("/slow", "", SubrequestOutput::inline_body);
  request.start_subrequest("/shown", "", SubrequestOutput::inline_body);
  Chain tail;
  tail.push(Slice::borrowed("]"));
  request.send(std::move(tail), true);
  return PhaseResult::done();
}

}  // namespace

TEST_CASE("rewrites look the location up again, ten times at most") {
  Rig rig;
  rig.graph().hooks.phases[static_cast<size_t>(Phase::rewrite)].push_back(to_rewritten);
  rig.add("/", show);
  rig.begin();
  CHECK(body_of(get(rig, "/old")) == "GET /new?");
  CHECK(status_of(get(rig, "/loop")) == "500");
}

TEST_CASE("access: all, or any") {
  Rig rig;
  auto& access = rig.graph().hooks.phases[static_cast<size_t>(Phase::access)];
  rig.add("/", show);
  SECTION("all: the first refusal counts") {
    access = {allow, forbid};
    rig.begin();
    CHECK(status_of(get(rig, "/")) == "403");
  }
  SECTION("any: one that allows is enough") {
    access = {forbid, unauthorized, allow};
    rig.core().satisfy = Satisfy::any;
    rig.begin();
    CHECK(status_of(get(rig, "/")) == "200");
  }
  SECTION("any: 401 rather than 403") {
    access = {unauthorized, forbid};
    rig.core().satisfy = Satisfy::any;
    rig.begin();
    CHECK(status_of(get(rig, "/")) == "401");
  }
}

TEST_CASE("locations: internal ones, none, and too large bodies") {
  Rig rig;
  rig.add("/internal", show).internal = true;
  rig.add("/redirecting", internally);
  rig.add("/shown", show).internal = true;
  Location& small = rig.add("/small", show);
  rig.settings(small).client_max_body_size.value = 3;
  rig.begin();
  CHECK(status_of(get(rig, "/internal")) == "404");
  CHECK(body_of(get(rig, "/redirecting")) == "GET /shown?a=b");
  CHECK(status_of(get(rig, "/nowhere")) == "404");
  CHECK(status_of(get(rig, "/nowhere/")) == "403");
  Client client(rig);
  std::string answer =
      client.ask("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd");
  CHECK(status_of(answer) == "413");
  CHECK(contains(answer, "Connection: close\r\n"));
}

TEST_CASE("internal redirects end after ten") {
  Rig rig;
  rig.add("/again", internally_again);
  rig.begin();
  CHECK(status_of(get(rig, "/again")) == "500");
}

TEST_CASE("named locations") {
  Rig rig;
  rig.add("/", to_named);
  SECTION("found") {
    rig.add("@name", show, Location::Kind::named);
    rig.begin();
    CHECK(body_of(get(rig, "/x?y")) == "GET /x?y");
  }
  SECTION("missing") {
    rig.begin();
    CHECK(status_of(get(rig, "/x")) == "500");
  }
}

TEST_CASE("error pages in all forms") {
  Rig rig;
  Location& location = rig.add("/x", missing);
  rig.add("/shown", show);
  rig.add("/broken", broken);
  rig.add("@back", show, Location::Kind::named);
  auto& pages = rig.settings(location).error_pages;
  SECTION("a URI: the status stays") {
    pages.push_back(rule({404}, "/shown?q"));
    rig.begin();
    std::string answer = get(rig, "/x");
    CHECK(status_of(answer) == "404");
    CHECK(body_of(answer) == "GET /shown?q");
  }
  SECTION("=200") {
    pages.push_back(rule({404}, "/shown", 200));
    rig.begin();
    CHECK(status_of(get(rig, "/x")) == "200");
  }
  SECTION("= takes the status of the answer") {
    pages.push_back(rule({404}, "/shown", 0));
    rig.begin();
    CHECK(status_of(get(rig, "/x")) == "200");
  }
  SECTION("a named location keeps the method") {
    pages.push_back(rule({404}, "@back"));
    rig.begin();
    Client client(rig);
    std::string answer = client.ask("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    CHECK(status_of(answer) == "404");
    CHECK(body_of(answer) == "POST /x?");
  }
  SECTION("an address elsewhere") {
    pages.push_back(rule({404}, "http://other/"));
    rig.begin();
    std::string answer = get(rig, "/x");
    CHECK(status_of(answer) == "302");
    CHECK(contains(answer, "\r\nLocation: http://other/\r\n"));
    CHECK(contains(body_of(answer), "<h1>302 Found</h1>"));
  }
  SECTION("an error page that fails has its own page") {
    pages.push_back(rule({404}, "/broken"));
    rig.begin();
    std::string answer = get(rig, "/x");
    CHECK(status_of(answer) == "500");
    CHECK(contains(body_of(answer), "<h1>500 Internal Server Error</h1>"));
  }
}

TEST_CASE("pages are nginx's, byte by byte") {
  Rig rig;
  rig.add("/x", missing);
  rig.add("/moved", [](Request& request) { return request.redirect_client(301, "/there"); });
  rig.add("/large", [](Request&) { return PhaseResult::status(494); });
  rig.begin();
  CHECK(body_of(get(rig, "/x")) ==
        "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
        "<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n"
        "</html>\r\n");
  std::string padded = body_of(get(rig, "/x", "User-Agent: Chrome/1\r\n"));
  CHECK(padded.size() == 146 + 6 * 67);
  std::string moved = get(rig, "/moved");
  CHECK(contains(moved, "\r\nContent-Length: 162\r\nLocation: http://a/there\r\nConnection: keep"));
  std::string large = get(rig, "/large");
  CHECK(status_of(large) == "400");
  CHECK(body_of(large).size() == 226);
}

TEST_CASE("HEAD has the head only") {
  Rig rig;
  rig.add("/", show);
  rig.add("/x", missing);
  rig.begin();
  Client client(rig);
  std::string answer = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(contains(answer, "Content-Length: 7\r\n"));
  CHECK(body_of(answer).empty());
  answer = client.ask("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(contains(answer, "Content-Length: 146\r\n"));
  CHECK(body_of(answer).empty());
  CHECK(body_of(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) == "GET /?");
}

TEST_CASE("444 closes without a word, late failures cut the response off") {
  Rig rig;
  rig.add("/closed", [](Request&) { return PhaseResult::status(444); });
  rig.add("/late", [](Request& request) {
    request.response().status = 200;
    request.send_head();
    Chain data;
    data.push(Slice::borrowed("half"));
    request.send(std::move(data), false);
    return PhaseResult::status(502);
  });
  rig.begin();
  Client client(rig);
  CHECK(client.ask("GET /closed HTTP/1.1\r\nHost: a\r\n\r\n") == "");
  CHECK(client.ended);
  Client late(rig);
  CHECK(body_of(late.ask("GET /late HTTP/1.1\r\nHost: a\r\n\r\n")) == "4\r\nhalf\r\n");
  CHECK(late.ended);
}

TEST_CASE("subrequests: captured, and in their place") {
  Rig rig;
  rig.add("/sub", with_subrequest);
  rig.add("/shown", show).internal = true;
  rig.add("/slow", slow);
  rig.add("/page", page);
  rig.begin();
  CHECK(body_of(get(rig, "/sub")) == "200:GET /shown?x");
  Client client(rig);
  client.send("GET /page HTTP/1.0\r\n\r\n");
  CHECK(body_of(client.receive_to_end()) == "[slowGET /shown?]");
}

TEST_CASE("post_action runs after the response, unseen") {
  static int ran;
  ran = 0;
  Rig rig;
  Location& location = rig.add("/", show);
  rig.settings(location).post_action = "/after";
  rig.add("/after", [](Request& request) {
    ++ran;
    return request.respond(200, {}, "nobody sees this");
  });
  rig.begin();
  Client client(rig);
  CHECK(body_of(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) == "GET /?");
  CHECK(ran == 1);
  CHECK(body_of(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) == "GET /?");
}
