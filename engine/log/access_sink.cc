#include "engine/log/access_sink.h"

#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <utility>

#include "engine/event/loop.h"
#include "engine/log/clock.h"

namespace weir {

namespace {

constexpr int64_t kReportEverySeconds = 60;
constexpr int kGzipWindow = 15 + 16;  // zlib: + 16 asks for a gzip header

}  // namespace

AccessSink::AccessSink(Loop* loop, LogTable& table, std::string path, AccessSinkOptions options)
    : loop_(loop),
      table_(table),
      path_(std::move(path)),
      options_(options),
      timer_(&AccessSink::flush_time, this) {
  table_.add_listener(this);
}

AccessSink::~AccessSink() {
  flush();
  table_.remove_listener(this);
}

void AccessSink::append(std::string_view line) {
  if (options_.buffer_size == 0) {
    write_out(line);
    return;
  }
  if (buffer_.size() + line.size() > options_.buffer_size) flush();
  if (line.size() > options_.buffer_size) {
    if (options_.gzip_level > 0) {
      write_out(compress(line));
    } else {
      write_out(line);
    }
    return;
  }
  if (buffer_.empty()) {
    buffer_.reserve(options_.buffer_size);
    if (loop_ && options_.flush_milliseconds > 0) timer_.arm(*loop_, options_.flush_milliseconds);
  }
  buffer_ += line;
}

void AccessSink::flush() {
  timer_.cancel();
  if (buffer_.empty()) return;
  if (options_.gzip_level > 0) {
    write_out(compress(buffer_));
  } else {
    write_out(buffer_);
  }
  buffer_.clear();
}

void AccessSink::flush_time(void* self) {
  static_cast<AccessSink*>(self)->flush();
}

void AccessSink::write_out(std::string_view bytes) {
  const int descriptor = table_.descriptor(path_);
  if (descriptor < 0 || bytes.empty()) return;
  const int64_t now = clock_text::now_milliseconds() / 1000;
  if (failed_second_ == now) return;
  const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
  if (written == static_cast<ssize_t>(bytes.size())) return;
  error_ = written < 0 ? errno : ENOSPC;
  failed_second_ = now;
}

int AccessSink::take_error() {
  if (error_ == 0) return 0;
  const int64_t now = clock_text::now_milliseconds() / 1000;
  if (now - reported_second_ < kReportEverySeconds) return 0;
  reported_second_ = now;
  return std::exchange(error_, 0);
}

std::string AccessSink::compress(std::string_view bytes) const {
  z_stream stream{};
  std::string out;
  if (deflateInit2(&stream, options_.gzip_level, Z_DEFLATED, kGzipWindow, MAX_MEM_LEVEL,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    return out;
  }
  out.resize(deflateBound(&stream, bytes.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  out.resize(result == Z_STREAM_END ? stream.total_out : 0);
  deflateEnd(&stream);
  return out;
}

AccessSink& AccessSinks::find(const std::string& path, const AccessSinkOptions& options) {
  // Most requests log where the one before did.
  if (last_ != nullptr && last_->path() == path && last_->options() == options) return *last_;
  auto& sink = sinks_[{path, options}];
  if (!sink) sink = std::make_unique<AccessSink>(loop_, table_, path, options);
  last_ = sink.get();
  return *sink;
}

void AccessSinks::flush_all() {
  for (auto& [key, sink] : sinks_) sink->flush();
}

}  // namespace weir
