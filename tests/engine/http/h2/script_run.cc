#include "tests/engine/http/h2/script_run.h"

#include <catch2/catch.hpp>
#include <sstream>

namespace weir::http::h2::test {
namespace {

// `pattern` may have a * for any text.
bool matches(const std::string& text, const std::string& pattern) {
  const size_t star = pattern.find('*');
  if (star == std::string::npos) return text == pattern;
  const std::string_view behind = std::string_view(pattern).substr(star + 1);
  return text.size() + 1 >= pattern.size() && text.starts_with(pattern.substr(0, star)) &&
         text.ends_with(behind);
}

bool passed_over(const std::string& frame) {
  return frame == "settings ack" || frame.starts_with("window ");
}

std::map<std::string, std::string> options_of(const std::vector<Step>& steps) {
  std::map<std::string, std::string> options;
  for (const Step& step : steps) {
    if (step.kind != Step::Kind::option) continue;
    const size_t equals = step.bytes.find('=');
    options[step.bytes.substr(0, equals)] = step.bytes.substr(equals + 1);
  }
  return options;
}

uint32_t number_of(const std::map<std::string, std::string>& options, const std::string& name,
                   uint32_t otherwise) {
  auto found = options.find(name);
  return found == options.end() ? otherwise : static_cast<uint32_t>(std::stoul(found->second));
}

}  // namespace

ScriptRole role_of(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    if (step.kind != Step::Kind::role) continue;
    if (step.bytes == "client") return ScriptRole::client;
    if (step.bytes == "both") return ScriptRole::both;
  }
  return ScriptRole::server;
}

ScriptRun::ScriptRun(Role role, const std::vector<Step>& steps, size_t cut)
    : role_(role), steps_(steps), cut_(cut), referee_(role) {
  auto options = options_of(steps);
  if (role == Role::server) {
    ServerOptions server;
    server.max_concurrent_streams = number_of(options, "streams", 10);
    server.body_preread_size = number_of(options, "window", 65536);
    server.extended_connect = options.contains("extended_connect");
    codec_ = make_server_codec(heard_, limits_, server);
  } else {
    ClientOptions client;
    client.stream_window = number_of(options, "window", 65536);
    codec_ = make_client_codec(heard_, client);
  }
  heard_.codec = codec_.get();
  heard_.gives_credit = options["credit"] != "late";
  collect();
  if (!options.contains("start")) frames_.clear();
}

void ScriptRun::run(const std::string& name) {
  size_t sent = 0;
  for (const Step& step : steps_) {
    INFO(name << ":" << step.line << (role_ == Role::server ? "" : " client") << " cut " << cut_);
    switch (step.kind) {
      case Step::Kind::send:
        ++sent;
        if (role_ == Role::client && step.bytes == kPreface) break;
        send(step.bytes);
        break;
      case Step::Kind::time:
        heard_.time += std::stoul(step.bytes);
        break;
      case Step::Kind::expect:
        if (!expect(step.bytes)) return;
        break;
      case Step::Kind::quiet:
        quiet();
        break;
      case Step::Kind::closed:
        CHECK(codec_->wants_close());
        break;
      case Step::Kind::heard:
        heard(step.bytes);
        break;
      case Step::Kind::act:
        act(step.bytes);
        settle();
        break;
      case Step::Kind::role:
      case Step::Kind::option:
        break;
    }
    CHECK(referee_.problem() == "");
  }
  INFO(name);
  CHECK(sent > 0);
  referee_.finish();
  CHECK(referee_.problem() == "");
}

void ScriptRun::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, cut_ == 0 ? bytes.size() : cut_);
    referee_.received(piece);
    codec_->feed(Slice::borrowed(piece));
    settle();
    bytes.remove_prefix(piece.size());
  }
}

bool ScriptRun::expect(const std::string& pattern) {
  std::string all;
  for (size_t i = 0; i < frames_.size() && i < 10; ++i) all += frames_[i].substr(0, 200) + "; ";
  INFO("came: " << all << " error: " << heard_.error);
  while (!frames_.empty() && !matches(frames_.front(), pattern) && passed_over(frames_.front())) {
    frames_.erase(frames_.begin());
  }
  const bool there = !frames_.empty() && matches(frames_.front(), pattern);
  const std::string came = frames_.empty() ? "(nothing)" : frames_.front().substr(0, 200);
  CHECK(came == (there ? came : pattern));
  if (!there) return false;
  const bool sent_away = came.starts_with("goaway") && !came.ends_with("NO_ERROR");
  if (sent_away) {
    // Who is sent away reads why in the error log; and the connection is closed.
    CHECK(heard_.error != "");
    CHECK(codec_->wants_close());
  }
  frames_.erase(frames_.begin());
  return true;
}

void ScriptRun::quiet() {
  std::erase_if(frames_, passed_over);
  const std::string first = frames_.empty() ? "" : frames_.front().substr(0, 200);
  CHECK(first == "");
  frames_.clear();
}

StreamId ScriptRun::handle(size_t number) const {
  const auto& order = role_ == Role::server ? heard_.order : asked_;
  return number / 2 < order.size() ? order[number / 2] : 0;
}

void ScriptRun::heard(const std::string& text) {
  if (text.starts_with("error ")) {
    const std::string pattern = text.substr(6);
    CHECK(heard_.error == (matches(heard_.error, pattern) ? heard_.error : pattern));
    return;
  }
  const size_t blank = text.find(' ');
  const std::string pattern = text.substr(blank + 1);
  const std::string told = heard_.streams[handle(std::stoul(text))].text;
  CHECK(told == (matches(told, pattern) ? told : pattern));
}

// --- what the program asks of the codec

void ScriptRun::act(const std::string& text) {
  std::istringstream words(text);
  std::string verb;
  size_t stream = 0;
  size_t bytes = 0;
  words >> verb;
  if (verb == "ask") return ask(text);
  if (verb == "finish") return codec_->finish_connection();
  if (verb == "ping") return codec_->send_ping();
  if (verb == "not") {
    CHECK_FALSE(codec_->can_open_stream());
    return;
  }
  words >> stream >> bytes;
  const StreamId id = handle(stream);
  if (verb == "consume") return codec_->consumed(id, bytes);
  if (verb == "widen") return codec_->widen_window(id);
  if (verb == "cancel") return codec_->send_reset(id, 8);
  if (verb == "forget") {
    done_[id] = true;
    return codec_->forget(id);
  }
  if (verb == "body") {
    std::string end;
    words >> end;
    Body& body = bodies_[id];
    body.data.push(Slice::copy_of(std::string(bytes, 'b')));
    body.end = end == "end";
    return go_on(id);
  }
  FAIL_CHECK("unknown: do " << text);
}

void ScriptRun::ask(const std::string& text) {
  const size_t colon = text.find(" : ");
  std::istringstream words(text.substr(0, colon));
  std::string verb, method, path, end;
  words >> verb >> method >> path >> end;
  MessageHead head;
  head.method_text = method;
  head.method = find_method(method);
  head.target = path;
  head.authority = "a";
  std::string fields = colon == std::string::npos ? "" : text.substr(colon + 3);
  while (!fields.empty()) {
    const size_t bar = fields.find(" | ");
    const std::string field = fields.substr(0, bar);
    fields = bar == std::string::npos ? "" : fields.substr(bar + 3);
    const size_t equals = field.find('=');
    std::string value = field.substr(equals + 1);
    if (value.starts_with("*")) value.assign(std::stoul(value.substr(1)), 'v');
    head.headers.add(heard_.arena, heard_.arena.copy(field.substr(0, equals)),
                     heard_.arena.copy(value));
  }
  const StreamId stream = codec_->open_stream(heard_.arena);
  CHECK(stream != 0);
  asked_.push_back(stream);
  if (end != "end") unfinished_.insert(stream);
  codec_->send_head(stream, head, end == "end");
}

// --- what a program does by itself

void ScriptRun::settle() {
  for (auto& [stream, heard] : heard_.streams) {
    if (done_.contains(stream)) continue;
    if (role_ == Role::server) {
      settle_server(stream, heard);
    } else {
      settle_client(stream, heard);
    }
  }
  for (StreamId stream : std::exchange(heard_.writable, {})) go_on(stream);
  collect();
}

void ScriptRun::settle_client(StreamId stream, Heard& heard) {
  if (!heard.was_reset && (!heard.ended || unfinished_.contains(stream))) return;
  done_[stream] = true;
  bodies_.erase(stream);
  codec_->forget(stream);
}

void ScriptRun::settle_server(StreamId stream, Heard& heard) {
  const std::string_view path = heard.head == nullptr ? std::string_view() : heard.head->target;
  if (heard.was_reset) {
    done_[stream] = true;
    if (heard.reset.cause == Reset::Cause::malformed && heard.reset.status >= 400) {
      answer(stream, heard.reset.status, "");
    }
    bodies_.erase(stream);
    codec_->forget(stream);
  } else if ((heard.ended && !path.starts_with("/wait")) || path == "/early") {
    done_[stream] = true;
    serve(stream, heard);
  }
}

void ScriptRun::serve(StreamId stream, Heard& heard) {
  const std::string path(heard.head->target);
  if (path == "/trailers") return answer(stream, 200, heard.text);
  if (path.starts_with("/size/")) {
    return answer(stream, 200, std::string(std::stoul(path.substr(6)), 's'));
  }
  MessageHead head;
  Arena& arena = heard_.arena;
  if (path == "/echo") {
    head.status = 200;
    for (const Header& field : heard.head->headers) head.headers.add(arena, field);
    codec_->send_head(stream, head, true);
    return codec_->forget(stream);
  }
  if (path == "/hint") {
    head.status = 103;
    head.headers.add(arena, "Link", "</style.css>");
    codec_->send_interim(stream, head);
  } else if (path == "/long-head" || path == "/http1" || path == "/with-trailers") {
    head.status = 200;
    head.body.kind = BodyLength::Kind::chunked;
    if (path == "/long-head") head.headers.add(arena, "x", arena.copy(std::string(40000, 'x')));
    if (path == "/http1") {
      for (const auto& [name, value] : std::initializer_list<std::pair<const char*, const char*>>{
               {"X-Upper", " a b\t"},
               {"Connection", "close"},
               {"Keep-Alive", "5"},
               {"Proxy-Connection", "close"},
               {"Transfer-Encoding", "chunked"},
               {"Upgrade", "h2c"},
               {"TE", "gzip"},
               {"bl ank", "1"},
               {"latin\xe9", "1"},
               {"Set-Cookie", "a=b"}}) {
        head.headers.add(arena, name, value);
      }
    }
    codec_->send_head(stream, head, false);
    Body& body = bodies_[stream];
    body.data.push(Slice::copy_of("body"));
    body.trailers = path == "/with-trailers";
    return go_on(stream);
  }
  answer(stream, 200, path);
}

void ScriptRun::answer(StreamId stream, int status, std::string_view body) {
  MessageHead head;
  head.status = status;
  head.body = {BodyLength::Kind::exact, body.size()};
  codec_->send_head(stream, head, body.empty());
  if (body.empty()) {
    codec_->forget(stream);
    return;
  }
  bodies_[stream].data.push(Slice::copy_of(body));
  go_on(stream);
}

void ScriptRun::go_on(StreamId stream) {
  auto found = bodies_.find(stream);
  if (found == bodies_.end()) return;
  Body& body = found->second;
  codec_->send_data(stream, body.data, body.end && !body.trailers);
  if (!body.data.empty()) return;
  if (body.trailers) {
    HeaderList trailers;
    trailers.add(heard_.arena, "Sum", "1");
    codec_->send_trailers(stream, trailers);
  }
  if (body.end) unfinished_.erase(stream);
  bodies_.erase(found);
  if (role_ == Role::server) codec_->forget(stream);
}

void ScriptRun::collect() {
  const std::string more = take_output(*codec_);
  referee_.sent(more);
  answered_ += more;
  bytes_ += more;
  for (std::string& frame : reader_.read(bytes_)) frames_.push_back(std::move(frame));
}

}  // namespace weir::http::h2::test
