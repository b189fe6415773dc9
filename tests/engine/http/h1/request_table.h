#pragma once

#include <string_view>

namespace weir::http::h1 {

// What nginx 1.22 answered to each of these, and what it logged at level info, read off a running
// one. `status` 0: accepted, `expected` is the head as Recorder writes it. Otherwise `expected` is
// the log text. `stricter`: where we refuse what nginx serves.
struct RequestCase {
  std::string_view input;
  int status;
  std::string_view expected;
  bool stricter = false;
};

using std::string_view_literals::operator""sv;

#define H "Host: h\r\n\r\n"
#define METHOD "client sent invalid method while reading client request line"
#define LINE "client sent invalid request while reading client request line"
#define HOST_LINE "client sent invalid host in request line while reading client request line"
#define VERSION "client sent invalid version while reading client request line"
#define IN_HEADERS " while reading client request headers"

inline constexpr RequestCase kRequestLines[] = {
    {"GET / HTTP/1.1\r\n" H, 0, "GET / 11 host=h"},
    {"\r\n\r\n\r\nGET / HTTP/1.1\r\n" H, 0, "GET / 11 host=h"},
    {"\nGET / HTTP/1.1\r\n" H, 0, "GET / 11 host=h"},
    {"\r\r\nGET / HTTP/1.1\r\n" H, 0, "GET / 11 host=h"},
    {" GET / HTTP/1.1\r\n" H, 400, METHOD},
    {"get / HTTP/1.1\r\n" H, 400, METHOD},
    {"G_E-T / HTTP/1.1\r\n" H, 0, "G_E-T / 11 host=h"},
    {"G3T / HTTP/1.1\r\n" H, 400, METHOD},
    {"-GET / HTTP/1.1\r\n" H, 0, "-GET / 11 host=h"},
    {"GET  / HTTP/1.1\r\n" H, 0, "GET / 11 host=h"},
    {"GET\t/ HTTP/1.1\r\n" H, 400, METHOD},
    {"GET /  HTTP/1.1\r\n" H, 0, "GET / 11 host=h"},
    {"GET / HTTP/1.1 \r\n" H, 0, "GET / 11 host=h"},
    {"GET / HTTP/1.1  \n" H, 0, "GET / 11 host=h"},
    {"GET / HTTP/1.1\t\r\n" H, 400, LINE},
    {"GET / HTTP/1.1 x\r\n" H, 400, LINE},
    {"GET /\r\n", 0, "GET / 9 host= close"},
    {"GET /\n", 0, "GET / 9 host= close"},
    {"GET / \r\n", 0, "GET / 9 host= close"},
    {"GET\r\n", 400, METHOD},
    {"GET \r\n", 400, LINE},
    {"GET /a b\r\n", 400, LINE},
    {"POST /\r\n", 400,
     "client sent invalid method in HTTP/0.9 request while reading client request line"},
    {"HEAD /\r\n", 400,
     "client sent invalid method in HTTP/0.9 request while reading client request line"},
    {"GET /a b HTTP/1.1\r\n" H, 400, LINE},
    {"GET / HTTP/1.2\r\n" H, 0, "GET / 11 host=h"},
    {"GET / HTTP/1.10\r\n" H, 0, "GET / 11 host=h"},
    {"GET / HTTP/1.999\r\n" H, 0, "GET / 11 host=h"},
    {"GET / HTTP/1.1000\r\n" H, 400, LINE},
    {"GET / HTTP/1.0\r\n" H, 0, "GET / 10 host=h close"},
    {"GET / HTTP/1.00\r\n" H, 0, "GET / 10 host=h close"},
    {"GET / HTTP/1.01\r\n" H, 0, "GET / 11 host=h"},
    {"GET / HTTP/1.\r\n" H, 400, LINE},
    {"GET / HTTP/1\r\n" H, 400, LINE},
    {"GET / HTTP/0.9\r\n" H, 400, LINE},
    {"GET / HTTP/01.1\r\n" H, 400, LINE},
    {"GET / HTTP/2.0\r\n" H, 505, VERSION},
    {"GET / HTTP/3.0\r\n" H, 505, VERSION},
    {"GET / HTTP/10.0\r\n" H, 505, VERSION},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, LINE},
    {"GET / http/1.1\r\n" H, 400, LINE},
    {"GET / HTP/1.1\r\n" H, 400, LINE},
    {"GET / HTTP1.1\r\n" H, 400, LINE},
    {"GET / HTTP/1.1\n" H, 0, "GET / 11 host=h"},
    {"GET / HTTP/1.1\r" H, 400, LINE},
    {"GET / HTTP/1.1\r\r\n" H, 400, LINE},
    {"GET http://Foo.COM/a?b HTTP/1.1\r\n" H, 0, "GET /a?b 11 host=foo.com"},
    {"GET http://foo.com:80/a?b HTTP/1.1\r\n" H, 0, "GET /a?b 11 host=foo.com"},
    {"GET http://foo.com:8x/a?b HTTP/1.1\r\n" H, 400, LINE},
    {"GET http://foo.com: HTTP/1.1\r\n" H, 0, "GET / 11 host=foo.com"},
    {"GET http://foo.com HTTP/1.1\r\n" H, 0, "GET / 11 host=foo.com"},
    {"GET http://foo.com?x=1 HTTP/1.1\r\n" H, 0, "GET ?x=1 11 host=foo.com"},
    {"GET http://foo.com:80?x=1 HTTP/1.1\r\n" H, 0, "GET ?x=1 11 host=foo.com"},
    {"GET http://foo.com#x HTTP/1.1\r\n" H, 400, LINE},
    {"GET http:///a HTTP/1.1\r\n" H, 400, HOST_LINE},
    {"GET http://u@foo.com/a HTTP/1.1\r\n" H, 400, LINE},
    {"GET http://[::1]:80/a HTTP/1.1\r\n" H, 0, "GET /a 11 host=[::1]"},
    {"GET http://[::1/a HTTP/1.1\r\n" H, 400, LINE},
    {"GET http://foo_bar/a HTTP/1.1\r\n" H, 400, LINE},
    {"GET HTTP://foo/a HTTP/1.1\r\n" H, 0, "GET /a 11 host=foo"},
    {"GET ht1tp://foo/a HTTP/1.1\r\n" H, 0, "GET /a 11 host=foo"},
    {"GET h+t-t.p1://foo/a HTTP/1.1\r\n" H, 0, "GET /a 11 host=foo"},
    {"GET http:/foo/a HTTP/1.1\r\n" H, 400, LINE},
    {"GET http:foo/a HTTP/1.1\r\n" H, 400, LINE},
    {"GET foo HTTP/1.1\r\n" H, 400, LINE},
    {"GET * HTTP/1.1\r\n" H, 400, LINE},
    {"OPTIONS * HTTP/1.1\r\n" H, 400, LINE},
    {"GET ?x HTTP/1.1\r\n" H, 400, LINE},
    {"GET http://foo.com/a HTTP/1.1\r\nHost: bar\r\n\r\n", 0, "GET /a 11 host=foo.com"},
    {"GET http://foo.com/a HTTP/1.1\r\n\r\n", 400,
     "client sent HTTP/1.1 request without \"Host\" header" IN_HEADERS},
    {"CONNECT / HTTP/1.1\r\n" H, 405, "client sent CONNECT method" IN_HEADERS},
    {"TRACE / HTTP/1.1\r\n" H, 405, "client sent TRACE method" IN_HEADERS},
    {"GET /\0 HTTP/1.1\r\n" H ""sv, 400, LINE},
    {"GET /\x01 HTTP/1.1\r\n" H, 400, LINE},
    {"GET /\x7f HTTP/1.1\r\n" H, 400, LINE},
    {"GET /\t HTTP/1.1\r\n" H, 400, LINE},
    {"GET /\xff\x80 HTTP/1.1\r\n" H, 0, "GET /\xff\x80 11 host=h"},
    {"GET /a\rb HTTP/1.1\r\n" H, 400, LINE},
    {"GET /a\r\r\n", 400, LINE},
    {"\x16\x03\x01\x02\0\x01\0"sv, 400, METHOD},
};

#define G "GET / HTTP/1.1\r\n"
#define OK "GET / 11 host=h"
#define INVALID "client sent invalid header line: \""

inline constexpr RequestCase kFieldLines[] = {
    {G "A: x\n" H, 0, OK " [A=x]"},
    {G "A:x\r\n" H, 0, OK " [A=x]"},
    {G "A:  x  \r\n" H, 0, OK " [A=x]"},
    {G "A:\tx\t\r\n" H, 0, OK " [A=\tx\t]"},
    {G "A: \tx \t\r\n" H, 0, OK " [A=\tx \t]"},
    {G "A:\r\n" H, 0, OK " [A=]"},
    {G "A: \r\n" H, 0, OK " [A=]"},
    {G "A : x\r\n" H, 400, INVALID "A\\x20...\"" IN_HEADERS},
    {G "A\t: x\r\n" H, 400, INVALID "A\\x09...\"" IN_HEADERS},
    {G " A: x\r\n" H, 400, INVALID "\\x20...\"" IN_HEADERS},
    {G "A\r\n" H, 0, OK " [A=]"},
    {G ": x\r\n" H, 400, INVALID "\\x3a...\"" IN_HEADERS},
    {G ":\r\n" H, 400, INVALID "\\x3a...\"" IN_HEADERS},
    {G "A\xff: x\r\n" H, 0, OK},
    {G "A(): x\r\n" H, 0, OK},
    {G "A@b: x\r\n" H, 0, OK},
    {G "A_b: x\r\n" H, 0, OK},
    {G "A-B: x\r\n" H, 0, OK " [A-B=x]"},
    {G "A.b: x\r\n" H, 0, OK},
    {G "_A: x\r\n" H, 0, OK},
    {G "-A: x\r\n" H, 0, OK " [-A=x]"},
    {G "-: x\r\n" H, 0, OK " [-=x]"},
    {G "A\0: x\r\n" H ""sv, 400, INVALID "A\\x00...\"" IN_HEADERS},
    {G "A\x01: x\r\n" H, 400, INVALID "A\\x01...\"" IN_HEADERS},
    {G "A\x7f: x\r\n" H, 400, INVALID "A\\x7f...\"" IN_HEADERS},
    {G "A: x\0y\r\n" H ""sv, 400, INVALID "A: x\\x00...\"" IN_HEADERS},
    {G "A: x\001y\r\n" H, 0, OK " [A=x\001y]"},
    {G "A: x\177y\r\n" H, 0, OK " [A=x\177y]"},
    {G "A: x\377y\r\n" H, 0, OK " [A=x\377y]"},
    {G "A: x\ry\r\n" H, 400, INVALID "A: x\\x0d...\"" IN_HEADERS},
    {G "A: x\r\r\n" H, 400, INVALID "A: x\\x0d...\"" IN_HEADERS, true},
    {G "A\rB: x\r\n" H, 400, INVALID "A\\x0d...\"" IN_HEADERS},
    {G "A: \rx\r\n" H, 400, INVALID "A: \\x0d...\"" IN_HEADERS},
    {G "A: x\r\n y\r\n" H, 400, INVALID "\\x20...\"" IN_HEADERS},
    {G "A: x\r\n\ty\r\n" H, 400, INVALID "\\x09...\"" IN_HEADERS},
    {G "A b: x\r\n" H, 400, INVALID "A\\x20...\"" IN_HEADERS},
    {G "A\r: x\r\n" H, 400, INVALID "A\\x0d...\"" IN_HEADERS},
    {G "A/: x\r\n" H, 0, OK},
    {G "A x\r\n" H, 400, INVALID "A\\x20...\"" IN_HEADERS},
    {G "A: 1\r\nA: 2\r\n" H, 0, OK " [A=1] [A=2]"},
    {G "Host: g\r\n" H, 400,
     "client sent duplicate host header: \"Host: h\", previous value: \"Host: g\"" IN_HEADERS},
    {G "Host: h\r\n" H, 400,
     "client sent duplicate host header: \"Host: h\", previous value: \"Host: h\"" IN_HEADERS},
    {G "User-Agent: a\r\nUser-Agent: b\r\n" H, 0, OK " [User-Agent=a] [User-Agent=b]"},
    {G "If-Modified-Since: a\r\nIf-Modified-Since: b\r\n" H, 400,
     "client sent duplicate header line: \"If-Modified-Since: b\", previous value: "
     "\"If-Modified-Since: a\"" IN_HEADERS},
    {G "Authorization: a\r\nAuthorization: b\r\n" H, 400,
     "client sent duplicate header line: \"Authorization: b\", previous value: "
     "\"Authorization: a\"" IN_HEADERS},
    {G "Expect: a\r\nexpect: b\r\n" H, 400,
     "client sent duplicate header line: \"expect: b\", previous value: \"Expect: a\"" IN_HEADERS},
    {G "Range: a\r\nRange: b\r\n" H, 0, OK " [Range=a] [Range=b]"},
    {G "Upgrade: a\r\nUpgrade: b\r\n" H, 0, OK " [Upgrade=a] [Upgrade=b] upgrade"},
    {G "Expect: 100-Continue\r\n" H, 0, OK " [Expect=100-Continue] expect"},
    {G "Expect: foo\r\n" H, 0, OK " [Expect=foo]"},
    {G "Connection: close\r\n\r\n", 400,
     "client sent HTTP/1.1 request without \"Host\" header" IN_HEADERS},
    {G "Connection: foo, close\r\n" H, 0, OK " [Connection=foo, close] close"},
    {G "Connection: xclosey\r\n" H, 0, OK " [Connection=xclosey] close"},
    {G "Connection: Upgrade\r\n" H, 0, OK " [Connection=Upgrade]"},
    {G "Connection: close, keep-alive\r\n" H, 0, OK " [Connection=close, keep-alive] close"},
    {"GET / HTTP/1.0\r\n\r\n", 0, "GET / 10 host= close"},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive, foo\r\n\r\n", 0,
     "GET / 10 host= [Connection=Keep-Alive, foo]"},
    {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", 0,
     "GET / 10 host= [Connection=keep-alive, close] close"},
    {"GET / HTTP/1.0\r\nUpgrade: x\r\n\r\n", 0, "GET / 10 host= [Upgrade=x] close"},
};

#define P "POST / HTTP/1.1\r\nHost: h\r\n"
#define POSTED "POST / 11 host=h"
#define BAD_LENGTH "client sent invalid \"Content-Length\" header" IN_HEADERS
#define UNKNOWN(x) "client sent unknown \"Transfer-Encoding\": \"" x "\"" IN_HEADERS
#define BOTH \
  "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time" IN_HEADERS

// Everything a request can say about its length.
inline constexpr RequestCase kLengths[] = {
    {P "Content-Length: 3\r\n\r\nabc", 0, POSTED " [Content-Length=3] exact 3"},
    {P "Content-Length: 0\r\n\r\n", 0, POSTED " [Content-Length=0]"},
    {P "\r\n", 0, POSTED},
    {P "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400,
     "client sent duplicate header line: \"Content-Length: 3\", previous value: \"Content-Length: "
     "3\"" IN_HEADERS},
    {P "Content-Length: 3\r\ncontent-length: 4\r\n\r\nabc", 400,
     "client sent duplicate header line: \"content-length: 4\", previous value: \"Content-Length: "
     "3\"" IN_HEADERS},
    {P "Content-Length: 3, 3\r\n\r\nabc", 400, BAD_LENGTH},
    {P "Content-Length: +3\r\n\r\nabc", 400, BAD_LENGTH},
    {P "Content-Length: -1\r\n\r\n", 400, BAD_LENGTH},
    {P "Content-Length: \r\n\r\n", 400, BAD_LENGTH},
    {P "Content-Length\r\n\r\n", 400, BAD_LENGTH},
    {P "Content-Length: 0x3\r\n\r\nabc", 400, BAD_LENGTH},
    {P "Content-Length: 3 \r\n\r\nabc", 0, POSTED " [Content-Length=3] exact 3"},
    {P "Content-Length: 03\r\n\r\nabc", 0, POSTED " [Content-Length=03] exact 3"},
    {P "Content-Length: 9223372036854775807\r\n\r\n", 0,
     POSTED " [Content-Length=9223372036854775807] exact 9223372036854775807"},
    {P "Content-Length: 9223372036854775808\r\n\r\n", 400, BAD_LENGTH},
    {P "Content-Length: 99999999999999999999999\r\n\r\n", 400, BAD_LENGTH},
    {P "Content-Length: 3 3\r\n\r\nabc", 400, BAD_LENGTH},
    {P "Content-Length: \t3\r\n\r\nabc", 400, BAD_LENGTH},
    {P "Transfer-Encoding: chunked\r\n\r\n", 0, POSTED " [Transfer-Encoding=chunked] chunked"},
    {P "transfer-encoding:Chunked\r\n\r\n", 0, POSTED " [transfer-encoding=Chunked] chunked"},
    {P "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400, BOTH},
    {P "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, BOTH},
    {P "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
     "client sent duplicate header line: \"Transfer-Encoding: chunked\", previous value: "
     "\"Transfer-Encoding: chunked\"" IN_HEADERS},
    {P "Transfer-Encoding: chunked, chunked\r\n\r\n", 501, UNKNOWN("chunked, chunked")},
    {P "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, UNKNOWN("gzip, chunked")},
    {P "Transfer-Encoding: identity\r\n\r\n", 501, UNKNOWN("identity")},
    {P "Transfer-Encoding: \r\n\r\n", 501, UNKNOWN("")},
    {P "Transfer-Encoding\r\n\r\n", 501, UNKNOWN("")},
    {P "Transfer-Encoding: chunked \r\n\r\n", 0, POSTED " [Transfer-Encoding=chunked] chunked"},
    {P "Transfer-Encoding: \tchunked\r\n\r\n", 501, UNKNOWN("\tchunked")},
    {P "Transfer-Encoding: chunked\t\r\n\r\n", 501, UNKNOWN("chunked\t")},
    {P "Transfer-Encoding: \vchunked\r\n\r\n", 501, UNKNOWN("\vchunked")},
    {P "Transfer-Encoding: chunked;q=1\r\n\r\n", 501, UNKNOWN("chunked;q=1")},
    {P "Transfer-Encoding: xchunked\r\n\r\n", 501, UNKNOWN("xchunked")},
    {P "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n", 501, UNKNOWN("identity")},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
     "client sent HTTP/1.0 request with \"Transfer-Encoding\" header" IN_HEADERS},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n", 400,
     "client sent HTTP/1.0 request with \"Transfer-Encoding\" header" IN_HEADERS},
    {P "Transfer_Encoding: chunked\r\n\r\n", 0, POSTED},
    {P "Transfer-Encoding : chunked\r\n\r\n", 400,
     INVALID "Transfer-Encoding\\x20...\"" IN_HEADERS},
    {P "Content-Length : 3\r\n\r\n", 400, INVALID "Content-Length\\x20...\"" IN_HEADERS},
    {P "A: b\rTransfer-Encoding: chunked\r\n\r\n", 400, INVALID "A: b\\x0d...\"" IN_HEADERS},
    {P "A: b\r\n Transfer-Encoding: chunked\r\n\r\n", 400, INVALID "\\x20...\"" IN_HEADERS},
    {P "X: \0\r\nTransfer-Encoding: chunked\r\n\r\n"sv, 400, INVALID "X: \\x00...\"" IN_HEADERS},
};

struct HostCase {
  std::string_view input;
  std::string_view expected;  // empty: refused
};
inline constexpr HostCase kHosts[] = {
    {"", ""},
    {" ", ""},
    {"Foo", "foo"},
    {"foo.", "foo"},
    {"foo..", ""},
    {".foo", ".foo"},
    {"foo..bar", ""},
    {"foo:80", "foo"},
    {"foo:", "foo"},
    {"foo:x", "foo"},
    {"foo:80:90", "foo"},
    {"foo.:80", "foo"},
    {"[::1]", "[::1]"},
    {"[::1]:80", "[::1]"},
    {"[::1", "[::1"},
    {"[::g]", "[::g]"},
    {"[a b]", ""},
    {"a b", ""},
    {"a/b", ""},
    {"a\tb", ""},
    {"a\\b", "a\\b"},
    {"a_b", "a_b"},
    {"a@b", "a@b"},
    {"a%b", "a%b"},
    {"a\200b", "a\200b"},
    {"a?b", "a?b"},
    {"a#b", "a#b"},
    {".", ""},
    {":80", ""},
    {"..", ""},
    {"a,b", "a,b"},
    {"::1", ""},
    {"a\177b", ""},
    {"a;b", "a;b"},
    {"[::1]x", "[::1]"},
    {"[::1]:x", "[::1]"},
    {"a[b]", "a[b]"},
    {"*", "*"},
    {"a:b/c", ""},
    {"a:80..", ""},
};

}  // namespace weir::http::h1
