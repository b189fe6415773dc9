// What goes out: nghttp2's frames, and bodies that never pass through its memory.

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "engine/http/h2/multiplexer.h"

// Missing in the header of some versions that have it.
extern "C" __attribute__((weak)) void nghttp2_option_set_max_continuations(nghttp2_option* option,
                                                                           size_t most);

namespace weir::http::h2 {
namespace {

constexpr size_t kCopiedSlice = 512;  // a smaller piece of a body joins its frame's head

}  // namespace

Chain& Multiplexer::output() {
  if (want_pump_ && !in_feed_ && !pumping_) pump();
  return output_;
}

void Multiplexer::release_memory() {
  if (!output_.empty()) return;
  block_ = nullptr;
  used_ = 0;
  output_.release();
}

void Multiplexer::pump() {
  if (in_feed_ || pumping_ || session_ == nullptr) {
    want_pump_ = true;
    return;
  }
  if (dead_) return;
  pumping_ = true;
  want_pump_ = false;
  for (;;) {
    const uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &data);
    if (size > 0) write(data, static_cast<size_t>(size));
    if (size == 0) break;
    if (size < 0) {
      pumping_ = false;
      fail(nghttp2_strerror(static_cast<int>(size)));
      return;
    }
  }
  pumping_ = false;
  if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) {
    if (*error_ != 0 || open_ > 0 || *last_words_ != 0) {
      fail(*error_ != 0 ? error_ : last_words_);
    } else {
      dead_ = true;
    }
  }
}

void Multiplexer::write(const uint8_t* data, size_t size) {
  while (size > 0) {
    if (!block_ || used_ == block_->capacity()) {
      block_ = Block::take();
      used_ = 0;
    }
    const size_t part = std::min<size_t>(size, block_->capacity() - used_);
    char* to = block_->data() + used_;
    std::memcpy(to, data, part);
    used_ += static_cast<uint32_t>(part);
    output_.push(Slice(block_, to, part));
    data += part;
    size -= part;
  }
}

void Multiplexer::write_slice(Slice slice) {
  if (!slice.is_file() && slice.size() <= kCopiedSlice) {
    write(reinterpret_cast<const uint8_t*>(slice.data()), slice.size());
  } else {
    output_.push(std::move(slice));
  }
}

const nghttp2_nv* Multiplexer::settled(FieldWriter& writer) {
  if (in_feed_ || pumping_) writer.copy_all();
  return writer.data();
}

// --- bodies

nghttp2_data_provider Multiplexer::provider(Stream& stream) {
  nghttp2_data_provider made;
  made.source.ptr = &stream;
  made.read_callback = [](nghttp2_session*, int32_t, uint8_t*, size_t length, uint32_t* flags,
                          nghttp2_data_source* source, void* self) -> ssize_t {
    return static_cast<Multiplexer*>(self)->read_source(*static_cast<Stream*>(source->ptr), length,
                                                        *flags);
  };
  return made;
}

ssize_t Multiplexer::read_source(Stream& stream, size_t length, uint32_t& flags) {
  const size_t there = stream.source == nullptr ? 0 : stream.source->bytes();
  if (there == 0 && !stream.finish) return NGHTTP2_ERR_DEFERRED;
  if (stream.frame_size != 0) length = std::min<size_t>(length, stream.frame_size);
  const size_t size = std::min(there, length);
  flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (size == there && stream.finish) flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(size);
}

void Multiplexer::send_source(Stream& stream, const uint8_t* frame_head, size_t length) {
  write(frame_head, 9);
  stream.sent += 9 + length;
  guard_.sent_data(length);
  while (length > 0) {
    Slice& front = stream.source->front();
    if (front.size() <= length) {
      length -= front.size();
      write_slice(stream.source->take_front());
    } else {
      write_slice(front.sub(0, length));
      stream.source->consume(length);
      length = 0;
    }
  }
}

void Multiplexer::send_data(StreamId handle, Chain& data, bool end) {
  Stream* stream = find(handle);
  if (stream == nullptr || stream->closed || stream->told || dead_ || stream->finish ||
      !stream->output_begun) {
    data.clear();
    return;
  }
  if (data.empty() && !end) return;
  if (in_feed_ || pumping_) {
    // Not from inside nghttp2's callbacks: on_writable() comes behind them.
    stream->blocked = true;
    windows_opened_ = true;
    return;
  }
  stream->source = &data;
  stream->finish = end;
  stream->blocked = false;
  nghttp2_session_resume_data(session_, stream->number);
  pump();
  // Nothing ends a stream for good before forget().
  stream->source = nullptr;
  if (dead_ || stream->closed) {
    if (dead_) data.clear();
    return;
  }
  if (!data.empty()) {
    stream->finish = false;
    stream->blocked = true;
  }
}

void Multiplexer::send_trailers(StreamId handle, const HeaderList& trailers) {
  Stream* stream = find(handle);
  if (stream == nullptr || stream->closed || stream->told || dead_ || stream->finish ||
      !stream->output_begun) {
    return;
  }
  FieldWriter& writer = FieldWriter::of_thread();
  writer.clear();
  for (const Header& field : trailers) writer.add(field);
  if (writer.size() == 0) {
    Chain nothing;
    send_data(handle, nothing, true);
    return;
  }
  pump_if_wanted();
  const size_t before = output_.bytes();
  nghttp2_submit_trailer(session_, stream->number, settled(writer), writer.size());
  stream->finish = true;
  pump();
  if (!dead_) stream->sent += output_.bytes() - before;
}

void Multiplexer::send_reset(StreamId handle, uint32_t code) {
  Stream* stream = find(handle);
  if (stream == nullptr || stream->closed || dead_) return;
  stream->told = true;
  if (stream->number < 0) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->number, code);
  pump();
}

void Multiplexer::send_ping() {
  if (dead_) return;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  pump();
}

// What still comes for a stream that we reset is no error.
void Multiplexer::cut_short(int32_t number) {
  constexpr size_t kRemembered = 128;
  if (role_ == Role::client) return;
  if (cut_short_.size() == kRemembered) cut_short_.erase(cut_short_.begin());
  cut_short_.push_back(number);
}

void Multiplexer::on_sent(const nghttp2_frame& frame) {
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
      if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        if (Stream* stream = of_number(frame.hd.stream_id)) stream->output_ended = true;
      }
      break;
    case NGHTTP2_RST_STREAM:
      cut_short(frame.hd.stream_id);
      // What the peer made us do costs as much as what it does.
      switch (frame.rst_stream.error_code) {
        case NGHTTP2_PROTOCOL_ERROR:
        case NGHTTP2_FLOW_CONTROL_ERROR:
        case NGHTTP2_STREAM_CLOSED:
        case NGHTTP2_FRAME_SIZE_ERROR:
        case NGHTTP2_REFUSED_STREAM:
          if (role_ == Role::server) take_token(FloodGuard::Kind::reset);
          break;
        default:
          break;
      }
      break;
    case NGHTTP2_GOAWAY:
      if (frame.goaway.error_code != NGHTTP2_NO_ERROR && *error_ == 0 && *last_words_ == 0) {
        note_violation(frame.goaway);
      }
      break;
    default:
      break;
  }
}

// nghttp2 ends a connection by itself: the GOAWAY says why.
void Multiplexer::note_violation(const nghttp2_goaway& goaway) {
  const std::string_view why(reinterpret_cast<const char*>(goaway.opaque_data),
                             goaway.opaque_data_len);
  const char* what =
      role_ == Role::server ? "client broke the protocol: " : "upstream broke the protocol: ";
  std::snprintf(last_words_, sizeof last_words_, "%s%.*s", what,
                static_cast<int>(std::min<size_t>(why.size(), 120)), why.empty() ? "" : why.data());
}

// --- nghttp2's callbacks

struct Callbacks {
  static Multiplexer& of(void* self) { return *static_cast<Multiplexer*>(self); }
  static std::string_view text(const uint8_t* data, size_t size) {
    return {reinterpret_cast<const char*>(data), size};
  }
  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* head, void* self) {
    of(self).on_frame_head(*head);
    return 0;
  }
  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    Multiplexer& codec = of(self);
    Stream* stream = codec.of_number(frame->hd.stream_id);
    if (stream != nullptr) {
      stream->field_bytes = 0;
      stream->field_count = 0;
    }
    codec.on_begin_headers(*frame);
    codec.heading_ = codec.of_number(frame->hd.stream_id);
    return 0;
  }
  static int header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t flags, void* self) {
    Multiplexer& codec = of(self);
    Stream* stream = codec.heading_;
    if (stream == nullptr || stream->told || stream->drops_input) return 0;
    stream->field_secret = (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0;
    if (!stream->head_done) {
      codec.on_field(*stream, text(name, name_size), text(value, value_size));
    } else {
      codec.take_trailer(*stream, text(name, name_size), text(value, value_size));
    }
    return 0;
  }
  static int frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    of(self).on_frame(*frame);
    return 0;
  }
  static int data_chunk(nghttp2_session*, uint8_t, int32_t number, const uint8_t* data, size_t size,
                        void* self) {
    of(self).on_data_chunk(number, data, size);
    return 0;
  }
  static int stream_close(nghttp2_session*, int32_t number, uint32_t code, void* self) {
    of(self).on_close(number, code);
    return 0;
  }
  static int frame_send(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    of(self).on_sent(*frame);
    return 0;
  }
  static int send_data(nghttp2_session*, nghttp2_frame*, const uint8_t* frame_head, size_t length,
                       nghttp2_data_source* source, void* self) {
    of(self).send_source(*static_cast<Stream*>(source->ptr), frame_head, length);
    return 0;
  }
  static ssize_t read_length(nghttp2_session*, uint8_t, int32_t number, int32_t session_window,
                             int32_t stream_window, uint32_t frame_limit, void* self) {
    const Stream* stream = of(self).of_number(number);
    uint32_t limit = stream == nullptr || stream->frame_size == 0 ? 16384 : stream->frame_size;
    limit = std::min(limit, frame_limit);
    const int32_t window = std::min(session_window, stream_window);
    return std::min<int32_t>(window, static_cast<int32_t>(limit));
  }
  static int error(nghttp2_session*, int, const char* message, size_t size, void* self) {
    Multiplexer& codec = of(self);
    const size_t kept = std::min(size, sizeof codec.last_words_ - 1);
    std::memcpy(codec.last_words_, message, kept);
    codec.last_words_[kept] = 0;
    return 0;
  }
};

const nghttp2_session_callbacks* Multiplexer::callbacks() {
  static const nghttp2_session_callbacks* made = [] {
    nghttp2_session_callbacks* table = nullptr;
    nghttp2_session_callbacks_new(&table);
    nghttp2_session_callbacks_set_on_begin_frame_callback(table, Callbacks::begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(table, Callbacks::begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(table, Callbacks::header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(table, Callbacks::frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, Callbacks::data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(table, Callbacks::stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(table, Callbacks::frame_send);
    nghttp2_session_callbacks_set_send_data_callback(table, Callbacks::send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(table, Callbacks::read_length);
    nghttp2_session_callbacks_set_error_callback2(table, Callbacks::error);
    return table;
  }();
  return made;
}

const nghttp2_option* Multiplexer::options() {
  static const nghttp2_option* made = [] {
    nghttp2_option* options = nullptr;
    nghttp2_option_new(&options);
    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_option_set_no_http_messaging(options, 1);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_deflate_dynamic_table_size(options, 0);
    nghttp2_option_set_max_send_header_block_length(options, 1024 * 1024);
    // Counted by FloodGuard, in both directions.
    nghttp2_option_set_stream_reset_rate_limit(options, UINT32_MAX, UINT32_MAX);
    // It counts reads, not frames; watch_frames() counts those.
    if (nghttp2_option_set_max_continuations != nullptr) {
      nghttp2_option_set_max_continuations(options, SIZE_MAX / 2);
    }
    return options;
  }();
  return made;
}

}  // namespace weir::http::h2
