// The codec of HTTP/2 against itself: a client and a server joined in memory.

#include <catch2/catch.hpp>

#include "tests/engine/http/h2/recorder.h"

using namespace weir;
using namespace weir::http;
using namespace weir::http::h2;
using namespace weir::http::h2::test;

TEST_CASE("h2: a request and its answer") {
  Pair pair;
  const StreamId stream = pair.request(
      "GET", "/a?b", true, {{"X-One", "1"}, {"Connection", "close"}, {"te", "trailers"}});
  pair.carry();
  REQUIRE(pair.at_server.order.size() == 1);
  const StreamId served = pair.at_server.order[0];
  CHECK(pair.at_server.streams[served].text ==
        "head GET /a?b HTTP/2.0 [x-one=1,te=trailers,host=example.com] | end");
  const MessageHead& head = *pair.at_server.streams[served].head;
  CHECK(head.version == Version::http_2);
  CHECK(head.scheme == "http");
  CHECK(head.host == "example.com");
  CHECK(head.body.kind == BodyLength::Kind::none);

  pair.answer(served, 200, "hello", true, {{"Content-Type", "text/plain"}});
  pair.carry();
  CHECK(pair.at_client.streams[stream].text == "head 200 [content-type=text/plain] | end");
  CHECK(pair.at_client.streams[stream].body == "hello");
  CHECK(pair.server->stream_bytes(served) > 14);
  pair.client->forget(stream);
  pair.server->forget(served);
  pair.carry();
  CHECK(pair.client->idle());
  CHECK(pair.server->idle());
  CHECK(pair.client->reusable());
  CHECK(pair.at_client.error.empty());
  CHECK(pair.at_server.error.empty());
}

TEST_CASE("h2: heads that come together have each their own size") {
  Pair pair;
  pair.request("GET", "/", true);
  pair.request("GET", "/a/longer/path", true);
  pair.request("GET", "/", true);
  pair.carry();
  REQUIRE(pair.at_server.order.size() == 3);
  const auto size = [&](size_t at) {
    return pair.at_server.streams[pair.at_server.order[at]].head->bytes;
  };
  CHECK(size(2) <= size(0));
  CHECK(size(1) > size(0) + 5);
}

TEST_CASE("h2: many streams, answered in another order") {
  Pair pair;
  std::vector<StreamId> asked;
  for (int i = 0; i < 50; ++i) asked.push_back(pair.request("GET", "/", true));
  pair.carry();
  REQUIRE(pair.at_server.order.size() == 50);
  for (size_t i = 50; i-- > 0;) {
    pair.answer(pair.at_server.order[i], 200, std::to_string(i), true);
    pair.server->forget(pair.at_server.order[i]);
  }
  pair.carry();
  for (size_t i = 0; i < 50; ++i) {
    CHECK(pair.at_client.streams[asked[i]].body == std::to_string(i));
    pair.client->forget(asked[i]);
  }
  CHECK(pair.client->stream_count() == 0);
  CHECK(pair.server->stream_count() == 0);
}

TEST_CASE("h2: bodies stop at the windows and go on when they open") {
  Pair pair;
  pair.at_server.gives_credit = false;
  const StreamId stream = pair.request("POST", "/", false);
  const std::string body(200'000, 'x');
  Chain data;
  data.push(Slice::copy_of(body));
  pair.client->send_data(stream, data, true);
  pair.carry();
  const StreamId served = pair.at_server.order.at(0);
  CHECK(pair.at_server.streams[served].body.size() == 65536);
  CHECK(pair.client->is_blocked(stream));
  CHECK(data.bytes() == body.size() - 65536);
  while (!data.empty()) {
    const size_t owed = std::exchange(pair.at_server.streams[served].owed, 0);
    REQUIRE(owed > 0);
    pair.server->consumed(served, owed);
    pair.carry();
    REQUIRE_FALSE(pair.at_client.writable.empty());
    pair.at_client.writable.clear();
    pair.client->send_data(stream, data, true);
    pair.carry();
  }
  CHECK(pair.at_server.streams[served].body == body);
  CHECK(pair.at_server.streams[served].ended);
}

TEST_CASE("h2: trailers and hints") {
  Pair pair;
  const StreamId stream = pair.request("POST", "/", false);
  HeaderList trailers;
  trailers.add(pair.at_client.arena, "Sum", "42");
  pair.client->send_trailers(stream, trailers);
  pair.carry();
  const StreamId served = pair.at_server.order.at(0);
  CHECK(pair.at_server.streams[served].text ==
        "head POST / HTTP/2.0 [host=example.com] | trailers [sum=42] | end");
  MessageHead hint;
  hint.status = 103;
  hint.headers.add(pair.at_server.arena, "Link", "</a>");
  pair.server->send_interim(served, hint);
  pair.answer(served, 200, "x", false);
  HeaderList after;
  after.add(pair.at_server.arena, "grpc-status", "0");
  pair.server->send_trailers(served, after);
  pair.carry();
  CHECK(pair.at_client.streams[stream].text ==
        "interim 103 [link=</a>] | head 200 [] | trailers [grpc-status=0] | end");
}

TEST_CASE("h2: resets, both ways") {
  Pair pair;
  const StreamId cancelled = pair.request("GET", "/", true);
  pair.carry();
  pair.client->send_reset(cancelled, 8);
  pair.carry();
  const StreamId served = pair.at_server.order.at(0);
  CHECK(pair.at_server.streams[served].was_reset);
  CHECK(pair.at_server.streams[served].reset.code == 8);
  CHECK(pair.at_server.streams[served].reset.cause == Reset::Cause::peer_reset);
  pair.server->forget(served);
  pair.client->forget(cancelled);

  const StreamId refused = pair.request("GET", "/", true);
  pair.carry();
  pair.server->send_reset(pair.at_server.order.at(1), 7);
  pair.carry();
  CHECK(pair.at_client.streams[refused].reset.cause == Reset::Cause::refused);
  CHECK(pair.at_client.streams[refused].reset.retry_safe);

  // An early answer: what the client still sends is of no interest.
  const StreamId early = pair.request("POST", "/", false);
  pair.carry();
  pair.answer(pair.at_server.order.at(2), 413, "no", true);
  pair.server->forget(pair.at_server.order.at(2));
  pair.carry();
  CHECK(pair.at_client.streams[early].ended);
  CHECK_FALSE(pair.at_client.streams[early].was_reset);
}

TEST_CASE("h2: the peer's limit of streams") {
  ServerOptions options;
  options.max_concurrent_streams = 2;
  Pair pair(options);
  CHECK(pair.at_client.settings == 1);
  const StreamId first = pair.request("GET", "/", true);
  CHECK(pair.client->can_open_stream());
  const StreamId second = pair.request("GET", "/", true);
  CHECK(second != 0);
  CHECK_FALSE(pair.client->can_open_stream());
  CHECK(pair.client->open_stream(pair.at_client.arena) == 0);
  pair.carry();
  pair.answer(pair.at_server.order.at(0), 200, "", true);
  pair.server->forget(pair.at_server.order.at(0));
  pair.carry();
  pair.client->forget(first);
  CHECK(pair.client->can_open_stream());
}

TEST_CASE("h2: two GOAWAYs end a connection politely") {
  Pair pair;
  const StreamId stream = pair.request("GET", "/", true);
  pair.carry();
  pair.server->finish_connection();
  CHECK_FALSE(pair.server->reusable());
  pair.carry();
  CHECK(pair.at_client.goaways == 2);
  CHECK_FALSE(pair.client->can_open_stream());
  CHECK_FALSE(pair.server->wants_close());
  pair.answer(pair.at_server.order.at(0), 200, "last", true);
  pair.carry();
  CHECK(pair.at_client.streams[stream].body == "last");
  CHECK(pair.server->wants_close());
  CHECK(pair.at_server.error.empty());
}

TEST_CASE("h2: a body that is taken as it comes may have a wide window") {
  Pair pair;
  pair.at_server.gives_credit = false;
  const StreamId stream = pair.request("POST", "/", false);
  pair.carry();
  const StreamId served = pair.at_server.order.at(0);
  pair.server->widen_window(served);
  pair.carry();
  Chain data;
  data.push(Slice::copy_of(std::string(500'000, 'x')));
  pair.client->send_data(stream, data, true);
  pair.carry();
  CHECK(data.empty());
  CHECK(pair.at_server.streams[served].body.size() == 500'000);
}

TEST_CASE("h2: small pieces of a body do not keep the blocks they came in") {
  Pair pair;
  pair.at_server.gives_credit = false;
  const StreamId stream = pair.request("POST", "/", false);
  for (int i = 0; i < 1000; ++i) {
    Chain data;
    data.push(Slice::copy_of("x"));
    pair.client->send_data(stream, data, false);
  }
  pair.carry();
  CHECK(pair.at_server.streams[pair.at_server.order.at(0)].body == std::string(1000, 'x'));
}

TEST_CASE("h2: an end that finds the window closed goes when it opens") {
  Pair pair;
  pair.at_client.gives_credit = false;
  ClientOptions options;
  const StreamId stream = pair.request("GET", "/", true);
  pair.carry();
  const StreamId served = pair.at_server.order.at(0);
  pair.answer(served, 200, std::string(options.stream_window, 'x'), false);
  Chain nothing;
  pair.server->send_data(served, nothing, true);
  pair.server->forget(served);
  pair.carry();
  Heard& heard = pair.at_client.streams[stream];
  CHECK(heard.body.size() == options.stream_window);
  CHECK_FALSE(heard.was_reset);
  CHECK_FALSE(heard.ended);
  pair.client->consumed(stream, std::exchange(heard.owed, 0));
  pair.carry();
  CHECK(heard.ended);
  CHECK(pair.server->stream_count() == 0);
}

TEST_CASE("h2: an idle session is folded, and none the worse") {
  Pair pair;
  FoldWatch& watch = *FoldWatch::of_thread();
  for (int i = 0; i < 3; ++i) {
    // The peers' tables of fields have something from the first request on.
    const StreamId stream = pair.request("GET", "/some/path", true, {{"x-indexed", "value"}});
    pair.carry();
    REQUIRE(pair.at_server.order.size() == static_cast<size_t>(i) + 1);
    const StreamId served = pair.at_server.order.back();
    pair.answer(served, 200, "hello", true, {{"x-answer", "value"}});
    pair.carry();
    CHECK(pair.at_client.streams[stream].text == "head 200 [x-answer=value] | end");
    pair.client->forget(stream);
    pair.server->forget(served);
    pair.carry();
    CHECK(pair.client->idle());
    watch.fold_all();
    CHECK(watch.fold_all() == 0);
    CHECK(pair.client->can_open_stream());  // uses it
    CHECK(watch.fold_all() == 1);
  }
}
