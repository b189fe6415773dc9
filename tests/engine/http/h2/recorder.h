#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/event/foldable.h"
#include "engine/event/loop.h"
#include "engine/http/h2/codec.h"

namespace weir::http::h2::test {

// What a codec told of one stream, as text: "head 200 [a=b] | data 5 | end".
struct Heard {
  std::string text;
  std::string body;
  MessageHead* head = nullptr;
  Reset reset;
  bool ended = false;
  bool was_reset = false;
  size_t owed = 0;
};

struct Recorder final : CodecReceiver {
  Arena& on_begin(StreamId stream) override {
    if (!streams.contains(stream)) order.push_back(stream);
    streams[stream];
    return arena;
  }
  static std::string fields(const HeaderList& list) {
    std::string text = " [";
    for (const Header& field : list) {
      if (text.size() > 2) text += ",";
      text.append(field.name).append(field.secret ? "!=" : "=").append(field.value);
    }
    return text + "]";
  }
  void add(StreamId stream, const std::string& text) {
    std::string& all = streams[stream].text;
    if (!all.empty()) all += " | ";
    all += text;
  }
  void on_interim(StreamId stream, MessageHead& head) override {
    add(stream, "interim " + std::to_string(head.status) + fields(head.headers));
  }
  void on_head(StreamId stream, MessageHead& head) override {
    streams[stream].head = &head;
    add(stream, head.status != 0 ? "head " + std::to_string(head.status) + fields(head.headers)
                                 : "head " + std::string(head.request_line) + fields(head.headers));
  }
  void on_data(StreamId stream, Slice data) override {
    Heard& heard = streams[stream];
    heard.body += data.view();
    if (gives_credit) {
      codec->consumed(stream, data.size());
    } else {
      heard.owed += data.size();
    }
  }
  void on_trailers(StreamId stream, HeaderList& trailers) override {
    add(stream, "trailers" + fields(trailers));
  }
  void on_end(StreamId stream) override {
    streams[stream].ended = true;
    add(stream, "end");
  }
  void on_upgraded(StreamId) override {}
  void on_reset(StreamId stream, const Reset& reset) override {
    streams[stream].was_reset = true;
    streams[stream].reset = reset;
    add(stream, "reset " + std::to_string(reset.status) + " " + reset.reason);
  }
  void on_goaway(StreamId) override { ++goaways; }
  void on_writable(StreamId stream) override { writable.push_back(stream); }
  void on_settings() override { ++settings; }
  void on_pong() override { ++pongs; }
  void on_connection_error(const char* reason) override { error = reason; }
  uint64_t now() const override { return time; }

  Codec* codec = nullptr;
  Arena arena;
  std::map<StreamId, Heard> streams;
  std::vector<StreamId> order;
  std::vector<StreamId> writable;
  std::string error;
  bool gives_credit = true;
  int goaways = 0, settings = 0, pongs = 0;
  uint64_t time = 1000;
};

inline std::string take_output(Codec& codec) {
  std::string text;
  Chain& output = codec.output();
  while (!output.empty()) text += output.take_front().view();
  return text;
}

// A client and a server codec, joined.
struct Pair {
  explicit Pair(const ServerOptions& server_options = {},
                const ClientOptions& client_options = {}) {
    server = make_server_codec(at_server, limits, server_options);
    client = make_client_codec(at_client, client_options);
    at_server.codec = server.get();
    at_client.codec = client.get();
    carry();
  }
  // Until nobody has anything to say. Idle sessions are folded all the time.
  void carry() {
    for (;;) {
      FoldWatch::of_thread()->fold_all();
      const std::string up = take_output(*client);
      const std::string down = take_output(*server);
      if (up.empty() && down.empty()) return;
      if (!up.empty()) server->feed(Slice::borrowed(up));
      if (!down.empty()) client->feed(Slice::borrowed(down));
    }
  }
  StreamId request(const char* method, const char* path, bool end,
                   std::initializer_list<std::pair<const char*, const char*>> fields = {}) {
    const StreamId stream = client->open_stream(at_client.arena);
    MessageHead head;
    head.method_text = method;
    head.method = find_method(method);
    head.target = path;
    head.authority = "example.com";
    for (const auto& [name, value] : fields) head.headers.add(at_client.arena, name, value);
    client->send_head(stream, head, end);
    return stream;
  }
  void answer(StreamId stream, int status, std::string_view body, bool end,
              std::initializer_list<std::pair<const char*, const char*>> fields = {}) {
    MessageHead head;
    head.status = status;
    head.body.kind = BodyLength::Kind::chunked;
    for (const auto& [name, value] : fields) head.headers.add(at_server.arena, name, value);
    server->send_head(stream, head, body.empty() && end);
    if (body.empty()) return;
    Chain data;
    data.push(Slice::copy_of(body));
    server->send_data(stream, data, end);
  }

  Loop loop;
  HeadLimits limits;
  Recorder at_server, at_client;
  std::unique_ptr<Codec> server, client;
};

}  // namespace weir::http::h2::test
