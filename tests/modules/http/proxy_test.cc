#include "modules/http/proxy.h"

#include "tests/modules/support/service.h"

using namespace weir;
using weir::test::Backend;
using weir::test::Peer;
using weir::test::Service;

namespace {

struct Proxy {
  // `%` in the configuration stands for the backend's address.
  explicit Proxy(const std::string& locations, const std::string& http = "") {
    std::string text = http + "\nserver { listen 127.0.0.1:80;\n" + locations + "\n}\n";
    for (size_t at = 0; (at = text.find('%', at)) != text.npos;) {
      text.replace(at, 1, backend.text());
    }
    service.serve(text);
  }
  // The head (and body, up to `end`) that goes up for a request to `target`.
  std::string upward(const std::string& target, const std::string& fields = "",
                     std::string_view end = "\r\n\r\n") {
    if (peer) peer->close();  // or the next request came on it
    client = service.connect();
    client->send("GET " + target + " HTTP/1.1\r\nHost: front\r\n" + fields + "\r\n");
    peer = backend.accept();
    return peer->until(end);
  }
  std::string line(const std::string& target) {
    const std::string head = upward(target);
    return head.substr(0, head.find(" HTTP/1."));
  }
  // The head that comes down for an answer with `fields`.
  std::string downward(const std::string& fields, const std::string& status = "200 OK") {
    upward("/x");
    peer->send("HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n" + fields + "\r\n");
    return client->until("\r\n\r\n");
  }
  // The value of the one field that comes down.
  std::string field(const std::string& name, const std::string& value) {
    const std::string head = downward(name + ": " + value + "\r\n");
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == head.npos) return "(none)";
    const size_t from = at + name.size() + 4;
    return head.substr(from, head.find("\r\n", from) - from);
  }

  Service service;
  Backend backend{service.loop};
  std::unique_ptr<Peer> client;
  std::unique_ptr<Peer> peer;
};

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != text.npos;
}
std::string pass(const std::string& more) {
  return "location / { proxy_pass http://%; " + more + " }";
}

}  // namespace

TEST_CASE("proxy: without a path the target goes up as it came") {
  Proxy proxy("location /a { proxy_pass http://%; }");
  CHECK(proxy.line("/a/b%20c//d?e=%2F") == "GET /a/b%20c//d?e=%2F");
  CHECK(proxy.line("/a") == "GET /a");
}

TEST_CASE("proxy: a path replaces the location's name") {
  CHECK(Proxy("location /a/ { proxy_pass http://%/b/; }").line("/a/c?d") == "GET /b/c?d");
  CHECK(Proxy("location /a { proxy_pass http://%/b; }").line("/a/c") == "GET /b/c");
  CHECK(Proxy("location /a/ { proxy_pass http://%/; }").line("/a/") == "GET /");
  // The rest goes up escaped anew.
  CHECK(Proxy("location /a/ { proxy_pass http://%/; }").line("/a/b%20c%3Fd") == "GET /b%20c%3Fd");
  CHECK(Proxy("location = /a { proxy_pass http://%/other; }").line("/a?b") == "GET /other?b");
}

TEST_CASE("proxy: a target with variables is the whole target") {
  CHECK(Proxy("location / { proxy_pass http://%$request_uri; }").line("/a%20b?c") ==
        "GET /a%20b?c");
  CHECK(Proxy("location / { proxy_pass http://%/fixed?$args; }").line("/a?b=c") ==
        "GET /fixed?b=c");
  // Only a host: as without a path.
  CHECK(Proxy("location / { set $up %; proxy_pass http://$up; }").line("/a?b") == "GET /a?b");
}

TEST_CASE("proxy: after a rewrite the changed URI goes up") {
  CHECK(
      Proxy("location / { rewrite ^/a/(.*)$ /z/$1 break; proxy_pass http://%; }").line("/a/b?c") ==
      "GET /z/b?c");
  // And a path of proxy_pass replaces nothing then.
  CHECK(Proxy("location /a/ { rewrite ^/a/(.*)$ /z/$1 break; proxy_pass http://%/p/; }")
            .line("/a/b") == "GET /z/b");
}

TEST_CASE("proxy: the fields that go up") {
  SECTION("by default") {
    Proxy proxy(pass(""));
    const std::string head = proxy.upward(
        "/", "X-A: b\r\nConnection: keep-alive, X-A\r\nKeep-Alive: 1\r\nTE: trailers\r\n");
    CHECK(has(head, " HTTP/1.1\r\n"));
    CHECK(has(head, "\r\nHost: " + proxy.backend.text() + "\r\n"));
    CHECK(has(head, "\r\nX-A: b\r\n"));
    CHECK_FALSE(has(head, "Keep-Alive"));
    CHECK_FALSE(has(head, "\r\nTE:"));
  }
  SECTION("set, replaced, removed") {
    Proxy proxy(
        pass("proxy_set_header Host $host; proxy_set_header X-A \"$http_x_a-2\";"
             "proxy_set_header X-Gone \"\"; proxy_set_header X-New $remote_addr;"));
    const std::string head = proxy.upward("/", "X-A: 1\r\nX-Gone: 1\r\nX-Kept: k\r\n");
    CHECK(has(head, "\r\nHost: front\r\n"));
    CHECK(has(head, "\r\nX-A: 1-2\r\n"));
    CHECK(has(head, "\r\nX-New: 127.0.0.1\r\n"));
    CHECK(has(head, "\r\nX-Kept: k\r\n"));
    CHECK_FALSE(has(head, "X-Gone"));
  }
  SECTION("inherited only where there is none of its own") {
    Proxy outer("proxy_set_header X-O o;" + pass(""));
    CHECK(has(outer.upward("/"), "\r\nX-O: o\r\n"));
    Proxy inner("proxy_set_header X-O o;" + pass("proxy_set_header X-I i;"));
    const std::string head = inner.upward("/");
    CHECK(has(head, "\r\nX-I: i\r\n"));
    CHECK_FALSE(has(head, "X-O"));
  }
  SECTION("none of the client's") {
    Proxy proxy(pass("proxy_pass_request_headers off; proxy_set_header X-S s;"));
    const std::string head = proxy.upward("/", "X-A: 1\r\nCookie: a=b\r\n");
    CHECK(has(head, "\r\nX-S: s\r\n"));
    CHECK_FALSE(has(head, "X-A"));
    CHECK_FALSE(has(head, "Cookie"));
  }
  SECTION("X-Forwarded-For grows") {
    Proxy proxy(pass("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"));
    CHECK(has(proxy.upward("/"), "\r\nX-Forwarded-For: 127.0.0.1\r\n"));
    CHECK(has(proxy.upward("/", "X-Forwarded-For: 1.2.3.4\r\n"),
              "\r\nX-Forwarded-For: 1.2.3.4, 127.0.0.1\r\n"));
  }
}

TEST_CASE("proxy: method, version and body of its own") {
  CHECK(Proxy(pass("proxy_method PUT;")).line("/a") == "PUT /a");
  CHECK(has(Proxy(pass("proxy_http_version 1.0;")).upward("/"), "GET / HTTP/1.0\r\n"));
  Proxy proxy(pass("proxy_set_body \"<$arg_a>\";"));
  CHECK(has(proxy.upward("/?a=bc", "Content-Length: 0\r\n", "<bc>"), "\r\nContent-Length: 4\r\n"));
}

TEST_CASE("proxy: Location is led back") {
  SECTION("default") {
    Proxy proxy("location / { proxy_pass http://%/base/; }");
    CHECK(proxy.field("Location", "http://" + proxy.backend.text() + "/base/a") ==
          "http://front/a");
    CHECK(proxy.field("Location", "http://elsewhere/base/a") == "http://elsewhere/base/a");
  }
  SECTION("off") {
    Proxy proxy("location / { proxy_pass http://%/base/; proxy_redirect off; }");
    const std::string there = "http://" + proxy.backend.text() + "/base/a";
    CHECK(proxy.field("Location", there) == there);
  }
  SECTION("by text, variables and expression; the first that fits") {
    Proxy proxy(
        pass("proxy_redirect http://one/ http://two/; proxy_redirect http://$host/x /y;"
             "proxy_redirect ~*^http://([^:]+):\\d+(/.+)$ http://$1$2;"));
    CHECK(proxy.field("Location", "http://one/a") == "http://two/a");
    CHECK(proxy.field("Location", "http://front/xa") == "http://front/ya");
    CHECK(proxy.field("Location", "HTTP://Some:81/a") == "http://Some/a");
    CHECK(proxy.field("Location", "/relative") == "/relative");
  }
  SECTION("Refresh too") {
    Proxy proxy(pass("proxy_redirect http://one/ http://two/;"));
    CHECK(proxy.field("Refresh", "5; URL=http://one/a") == "5; URL=http://two/a");
    CHECK(proxy.field("Refresh", "5") == "5");
  }
}

TEST_CASE("proxy: cookies are rewritten") {
  SECTION("domain") {
    Proxy proxy(
        pass("proxy_cookie_domain one.test two.test; proxy_cookie_domain ~\\.(\\w+)\\.org$ $1.x;"));
    CHECK(proxy.field("Set-Cookie", "a=b; Domain=ONE.test; Secure") ==
          "a=b; Domain=two.test; Secure");
    CHECK(proxy.field("Set-Cookie", "a=b; domain=.one.test") == "a=b; domain=.two.test");
    CHECK(proxy.field("Set-Cookie", "a=b; domain=www.abc.org") == "a=b; domain=abc.x");
    CHECK(proxy.field("Set-Cookie", "a=b; domain=other") == "a=b; domain=other");
  }
  SECTION("path") {
    Proxy proxy(pass("proxy_cookie_path /one/ /two/; proxy_cookie_path ~^/x(.*)$ /y$1;"));
    CHECK(proxy.field("Set-Cookie", "a=b; Path=/one/c") == "a=b; Path=/two/c");
    CHECK(proxy.field("Set-Cookie", "a=b; path=/xz; HttpOnly") == "a=b; path=/yz; HttpOnly");
    CHECK(proxy.field("Set-Cookie", "Path=/one/") == "Path=/one/");  // a name, not an attribute
  }
  SECTION("flags") {
    Proxy proxy(
        pass("proxy_cookie_flags a secure samesite=strict; proxy_cookie_flags ~^b "
             "nosecure nohttponly;"));
    CHECK(proxy.field("Set-Cookie", "a=1") == "a=1; Secure; SameSite=Strict");
    CHECK(proxy.field("Set-Cookie", "a=1; SameSite=Lax; Secure") == "a=1; SameSite=Strict; Secure");
    CHECK(proxy.field("Set-Cookie", "bc=1; Secure; HttpOnly; Path=/") == "bc=1; Path=/");
    CHECK(proxy.field("Set-Cookie", "c=1") == "c=1");
  }
}

TEST_CASE("proxy: fields that do not come down, unless passed") {
  const std::string fields = "X-Accel-Expires: 0\r\nX-Pad: x\r\nX-Shown: s\r\nX-Hidden: h\r\n";
  Proxy proxy(pass("proxy_hide_header x-hidden; proxy_pass_header X-Pad;"));
  const std::string head = proxy.downward(fields);
  CHECK(has(head, "\r\nX-Shown: s\r\n"));
  CHECK(has(head, "\r\nX-Pad: x\r\n"));
  CHECK_FALSE(has(head, "X-Hidden"));
  CHECK_FALSE(has(head, "X-Accel-Expires"));
  const std::string bare = Proxy(pass("")).downward(fields + "Server: up\r\nDate: then\r\n");
  CHECK_FALSE(has(bare, "X-Pad"));
  CHECK_FALSE(has(bare, "Server: up"));
  CHECK_FALSE(has(bare, "Date: then"));
  CHECK(has(Proxy(pass("proxy_pass_header Server;")).downward("Server: up\r\n"),
            "\r\nServer: up\r\n"));
}

TEST_CASE("proxy: X-Accel-Redirect, obeyed or ignored") {
  const std::string inside = "location /in { internal; return 203 \"$uri?$args\"; }";
  const std::string answer = "X-Accel-Redirect: /in/a?b\r\n";
  CHECK(has(Proxy(pass("") + inside).downward(answer), "HTTP/1.1 203 "));
  CHECK(has(Proxy(pass("proxy_ignore_headers X-Accel-Redirect;") + inside).downward(answer),
            "HTTP/1.1 200 "));
}

TEST_CASE("proxy: error pages instead of upstream errors") {
  const std::string page = "error_page 500 =418 /page; location = /page { return 418; }";
  CHECK(has(Proxy(page + pass("proxy_intercept_errors on;")).downward("", "500 No"),
            "HTTP/1.1 418 "));
  CHECK(has(Proxy(page + pass("")).downward("", "500 No"), "HTTP/1.1 500 "));
}

TEST_CASE("proxy: an upgrade is passed on only when it is set") {
  const std::string fields = "Upgrade: websocket\r\nConnection: upgrade\r\n";
  const std::string plain = Proxy(pass("")).upward("/", fields);
  CHECK_FALSE(has(plain, "pgrade"));
  Proxy proxy(pass("proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"));
  const std::string head = proxy.upward("/", fields);
  CHECK(has(head, "\r\nUpgrade: websocket\r\n"));
  CHECK(has(head, "\r\nConnection: upgrade\r\n"));
  proxy.peer->send("HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello");
  CHECK(has(proxy.client->until("hello"), "HTTP/1.1 101 "));
  proxy.client->send("back");
  CHECK(proxy.peer->until("back") == "back");
}
