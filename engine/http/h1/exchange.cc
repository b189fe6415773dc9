#include "engine/http/h1/exchange.h"

#include <algorithm>
#include <vector>

namespace weir::http::h1 {
namespace {

constexpr size_t kPooledStates = 16;
constexpr size_t kPooledBytes = 64 * 1024;  // a state that grew beyond is not kept

std::vector<std::unique_ptr<ParserState>>& pool() {
  static thread_local std::vector<std::unique_ptr<ParserState>> states;
  return states;
}

}  // namespace

ParserStateRef take_parser_state() {
  auto& states = pool();
  if (states.empty()) return ParserStateRef(new ParserState());
  ParserStateRef state(states.back().release());
  states.pop_back();
  return state;
}

void ParserStateReturn::operator()(ParserState* state) const {
  std::unique_ptr<ParserState> owned(state);
  auto& states = pool();
  if (states.size() >= kPooledStates || state->head.pending.capacity() > kPooledBytes) return;
  states.push_back(std::move(owned));
}

size_t ExchangeCodec::feed(const Slice& bytes) {
  size_t from = 0;
  while (from < bytes.size()) {
    size_t left = bytes.size() - from;
    size_t used = 0;
    Receiving before = receiving_;
    switch (before) {
      case Receiving::idle:
      case Receiving::head:
        used = feed_head(bytes, from);
        break;
      case Receiving::exact:
        used = feed_body(bytes, from, static_cast<size_t>(std::min<uint64_t>(left, body_left_)));
        break;
      case Receiving::chunked:
        used = feed_chunked(bytes, from);
        break;
      case Receiving::trailers:
        used = feed_trailers(bytes, from);
        break;
      case Receiving::until_close:
      case Receiving::raw:
        used = feed_body(bytes, from, left);
        break;
      case Receiving::done:
        used = feed_surplus(left);
        break;
      case Receiving::dead:
        used = left;
        break;
    }
    if (used == 0 && receiving_ == before) break;  // paused
    from += used;
  }
  return from;
}

size_t ExchangeCodec::feed_body(const Slice& bytes, size_t from, size_t count) {
  if (owed_ >= kWindow) return 0;
  count = std::min(count, kWindow - owed_);
  owed_ += count;
  bool complete = false;
  if (receiving_ == Receiving::exact) {
    body_left_ -= count;
    complete = body_left_ == 0;
  }
  receiver_.on_data(stream_, bytes.sub(from, count));
  if (complete && receiving_ == Receiving::exact) message_complete();
  return count;
}

size_t ExchangeCodec::feed_chunked(const Slice& bytes, size_t from) {
  size_t used = 0;
  auto result = state_->chunks.next(bytes.data() + from, bytes.size() - from, used);
  switch (result) {
    case ChunkDecoder::Result::need_more:
      return used;
    case ChunkDecoder::Result::malformed:
      fail(Reset::Cause::malformed, body_error_status(), chunk_error());
      return used;
    case ChunkDecoder::Result::last:
      receiving_ = Receiving::trailers;
      state_->head.begin(HeadParser::Kind::trailers, &trailer_limits(), kTrailerLimit);
      return used;
    case ChunkDecoder::Result::data:
      break;
  }
  size_t left = bytes.size() - from - used;
  size_t count = static_cast<size_t>(std::min<uint64_t>(left, state_->chunks.remaining()));
  if (owed_ >= kWindow) return used;
  count = std::min(count, kWindow - owed_);
  owed_ += count;
  state_->chunks.took(count);
  receiver_.on_data(stream_, bytes.sub(from + used, count));
  return used + count;
}

size_t ExchangeCodec::feed_trailers(const Slice& bytes, size_t from) {
  HeadParser& parser = state_->head;
  std::string_view fresh = bytes.view().substr(from);
  // The common end of a chunked body: no trailers.
  if (parser.pending.empty() && fresh.substr(0, 2) == "\r\n") {
    message_complete();
    return 2;
  }
  size_t before = parser.pending.size();
  size_t taken =
      std::min<size_t>(fresh.size(), kTrailerLimit + 1 - std::min<size_t>(before, kTrailerLimit));
  parser.pending.append(fresh.substr(0, taken));
  auto result = parser.parse(parser.pending);
  if (result == HeadParser::Result::incomplete) return taken;
  if (result != HeadParser::Result::complete) {
    fail(Reset::Cause::malformed, body_error_status(), chunk_error());
    return taken;
  }
  taken = parser.head_size() - before;
  if (!parser.fields().empty()) {
    // The fields are copied where the head's text is: trailers live as long.
    Arena& arena = trailer_arena();
    std::string_view text = arena.copy({parser.pending.data(), parser.head_size()});
    HeaderList trailers;
    parser.fill_headers(arena, text.data(), trailers);
    receiver_.on_trailers(stream_, trailers);
  }
  if (receiving_ == Receiving::trailers) message_complete();
  return taken;
}

HeadParser::Result ExchangeCodec::read_head(const Slice& bytes, size_t from, HeadParser::Kind kind,
                                            const HeadLimits& limits, uint32_t head_limit,
                                            size_t& used, std::string_view& text) {
  if (receiving_ == Receiving::idle) {
    if (!state_) state_ = take_parser_state();
    state_->head.begin(kind, &limits, head_limit);
    receiving_ = Receiving::head;
  }
  HeadParser& parser = state_->head;
  std::string_view fresh = bytes.view().substr(from);
  size_t before = parser.pending.size();
  if (before == 0) {
    text = fresh;
  } else {
    parser.pending.append(fresh);
    text = parser.pending;
  }
  auto result = parser.parse(text);
  if (result == HeadParser::Result::incomplete) {
    if (before == 0) parser.pending.assign(fresh);
    used = fresh.size();
  } else if (result == HeadParser::Result::complete) {
    text = text.substr(0, parser.head_size());
    used = text.size() - before;
  } else {
    used = fresh.size();
  }
  return result;
}

void ExchangeCodec::begin_body(const BodyLength& body) {
  switch (body.kind) {
    case BodyLength::Kind::none:
      receiving_ = Receiving::exact;
      message_complete();
      return;
    case BodyLength::Kind::exact:
      receiving_ = Receiving::exact;
      body_left_ = body.bytes;
      break;
    case BodyLength::Kind::chunked:
      receiving_ = Receiving::chunked;
      state_->chunks.begin();
      return;
    case BodyLength::Kind::until_close:
      receiving_ = Receiving::until_close;
      break;
  }
  state_ = nullptr;
}

void ExchangeCodec::message_complete() {
  receiving_ = Receiving::done;
  state_ = nullptr;
  receiver_.on_end(stream_);
}

void ExchangeCodec::fail(Reset::Cause cause, int status, const char* reason, MessageHead* head,
                         bool retry_safe) {
  receiving_ = Receiving::dead;
  keep_alive_ = false;
  state_ = nullptr;
  Reset reset;
  reset.cause = cause;
  reset.status = status;
  reset.reason = reason;
  reset.head = head;
  reset.retry_safe = retry_safe;
  receiver_.on_reset(stream_, reset);
}

void ExchangeCodec::consumed(StreamId stream, size_t bytes) {
  if (stream != stream_) return;  // an exchange that is over
  owed_ -= std::min(bytes, owed_);
}

void ExchangeCodec::send_data(StreamId stream, Chain& data, bool end) {
  if (!current(stream)) {
    data.clear();
    return;
  }
  if (write_body(data, end)) message_sent();
}

void ExchangeCodec::send_trailers(StreamId stream, const HeaderList& trailers) {
  if (!current(stream)) return;
  if (sending_ == Sending::chunked) {
    writer_.last_chunk(trailers);
    message_sent();
    return;
  }
  Chain nothing;
  send_data(stream, nothing, true);
}

void ExchangeCodec::message_sent() {
  if (sending_ == Sending::idle) keep_alive_ = false;  // ended without a head: nothing to build on
  sending_ = Sending::done;
}

void ExchangeCodec::send_reset(StreamId stream, uint32_t) {
  if (!current(stream)) return;
  sending_ = Sending::dead;
  receiving_ = Receiving::dead;
  keep_alive_ = false;
  state_ = nullptr;
}

bool ExchangeCodec::write_body(Chain& data, bool end) {
  switch (sending_) {
    case Sending::exact:
      // What a sender claims and what it sends may differ (a file that shrank): never more than
      // declared, and never another exchange behind less.
      if (data.bytes() <= send_left_) {
        send_left_ -= data.bytes();
        writer_.output().append(std::move(data));
        data = Chain();
      } else {
        keep_alive_ = false;
        while (!data.empty() && send_left_ > 0) {
          Slice slice = data.take_front();
          if (slice.size() > send_left_) slice = slice.sub(0, static_cast<size_t>(send_left_));
          send_left_ -= slice.size();
          writer_.output().push(std::move(slice));
        }
        data.clear();
      }
      if (end && send_left_ != 0) keep_alive_ = false;
      break;
    case Sending::chunked:
      writer_.chunk(data);
      if (end) writer_.last_chunk();
      break;
    case Sending::until_close:
    case Sending::raw:
      writer_.output().append(std::move(data));
      data = Chain();
      break;
    case Sending::idle:
    case Sending::absent:
    case Sending::done:
    case Sending::dead:
      data.clear();
      break;
  }
  return end;
}

void ExchangeCodec::release_memory() {
  if (receiving_ == Receiving::idle || receiving_ == Receiving::done ||
      receiving_ == Receiving::dead) {
    state_ = nullptr;
  }
  writer_.release();
}

}  // namespace weir::http::h1
