#include "engine/http/client_body.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

constexpr uint64_t kNameJump = 123456;  // away from names that another worker uses

std::string temp_name(const TempPath& folder, uint64_t number, bool make_folders) {
  char digits[24];
  snprintf(digits, sizeof digits, "%010llu", static_cast<unsigned long long>(number));
  std::string_view name = digits;
  std::string path = folder.path;
  size_t end = name.size();
  for (int level : folder.levels) {
    auto size = static_cast<size_t>(level);
    if (size == 0 || size > end) break;
    end -= size;
    path.append("/").append(name.substr(end, size));
    if (make_folders) ::mkdir(path.c_str(), 0700);
  }
  return path.append("/").append(name);
}

Task<int> read_whole(ClientBody& body, Request& request) {
  body.begin_storing(request);
  while (body.wants_more()) {
    const Wait waited = co_await request.event().wait();
    if (waited == Wait::cancelled) co_return 499;
  }
  co_return body.end_storing();
}

}  // namespace

int64_t body_limit(const Request& request) {
  const auto& settings = request.settings<CoreSettings>();
  const Location* location = request.location();
  if (!settings.body_limit_given && location && location->streams_bodies) return 0;
  return settings.client_max_body_size.value;
}

ClientBody::ClientBody(Exchange& exchange)
    : exchange_(exchange), timer_(&ClientBody::timed_out, this) {}

ClientBody::~ClientBody() {
  if (!file_name_.empty() && !keep_file_) ::unlink(file_name_.c_str());
}

// --- readers

void ClientBody::begin(Request& request, Mode mode) {
  mode_ = mode;
  reader_ = &request;
  send_continue();
  if (complete()) {
    ended_ = true;
  } else {
    if (mode != Mode::discarding) {
      timer_.arm(exchange_.worker().loop,
                 static_cast<uint64_t>(request.settings<CoreSettings>().client_body_timeout.value));
    }
  }
  if (mode != Mode::streaming && !ended_) exchange_.widen_window();
  exchange_.want_body();
}

void ClientBody::begin_storing(Request& request) {
  if (mode_ != Mode::waiting) return;
  begin(request, Mode::storing);
  take_arrived();
}

bool ClientBody::wants_more() const {
  return mode_ == Mode::storing && !ended_ && error_ == 0;
}

int ClientBody::end_storing() {
  if (mode_ == Mode::discarding) return 0;
  if (error_ == 0) finish_storing();
  return error_;
}

Task<int> ClientBody::read_all(Request& request) {
  return read_whole(*this, request);
}

Task<int> ClientBody::read_early(Request& request) {
  early_ = true;
  return read_whole(*this, request);
}

BodyInFile ClientBody::in_file() const {
  return early_ ? BodyInFile::off : reader_->settings<CoreSettings>().client_body_in_file_only;
}

void ClientBody::begin_streaming(Request& request) {
  if (mode_ != Mode::waiting) return;
  begin(request, Mode::streaming);
  check_size(received_);
}

void ClientBody::open_stream(Request& request) {
  length_ = {BodyLength::Kind::chunked, 0};
  mode_ = Mode::streaming;
  reader_ = &request;
  unlimited_ = true;
}

void ClientBody::consumed(size_t bytes) {
  exchange_.credit(bytes);
}

void ClientBody::discard() {
  if (mode_ == Mode::discarding) return;
  if (mode_ == Mode::storing && (ended_ || error_ != 0)) return;
  if (mode_ != Mode::waiting) length_at_discard_ = exchange_.received();
  size_t owed = arrived_.bytes();
  arrived_.clear();
  begin(exchange_.main(), Mode::discarding);
  timer_.cancel();
  if (owed > 0) exchange_.credit(owed);
}

void ClientBody::send_continue() {
  if (continue_settled_) return;
  continue_settled_ = true;
  const MessageHead& head = exchange_.main().received();
  if (!head.expect_continue || head.version < Version::http_1_1) return;
  HeaderList none;
  exchange_.main().send_interim(100, none);
}

bool ClientBody::came_whole() const {
  return mode_ == Mode::waiting && ended_ && exchange_.fits_head_buffer(received_);
}

// --- from the codec

void ClientBody::on_data(Slice data) {
  if (error_ != 0) {
    exchange_.credit(data.size());
    return;
  }
  received_ += data.size();
  if (timer_.armed()) {
    timer_.arm(exchange_.worker().loop,
               static_cast<uint64_t>(reader_->settings<CoreSettings>().client_body_timeout.value));
  }
  switch (mode_) {
    case Mode::waiting:
      arrived_.push(std::move(data));
      break;
    case Mode::storing: {
      size_t size = data.size();
      if (store(std::move(data))) exchange_.credit(size);
      break;
    }
    case Mode::streaming: {
      const size_t size = data.size();
      arrived_.push(std::move(data));
      check_size(size);
      exchange_.ring_all();
      break;
    }
    case Mode::discarding:
      exchange_.credit(data.size());
      break;
  }
}

void ClientBody::on_end() {
  ended_ = true;
  timer_.cancel();
  if (mode_ != Mode::waiting) exchange_.ring_all();
}

void ClientBody::fail(int status) {
  if (error_ != 0) return;
  error_ = status;
  timer_.cancel();
  exchange_.ring_all();
}

void ClientBody::timed_out(void* self) {
  auto* body = static_cast<ClientBody*>(self);
  if (body->mode_ == Mode::streaming && !body->arrived_.empty()) {
    // It is the reader that is slow.
    body->timer_.arm(body->exchange_.worker().loop, 1000);
    return;
  }
  body->exchange_.client_too_slow();
  body->fail(408);
}

// --- storing

void ClientBody::take_arrived() {
  Chain waiting = std::move(arrived_);
  arrived_ = Chain();
  while (!waiting.empty() && error_ == 0) {
    Slice data = waiting.take_front();
    size_t size = data.size();
    if (store(std::move(data))) exchange_.credit(size);
  }
}

// A chunked body that grows beyond client_max_body_size.
void ClientBody::check_size(uint64_t now) {
  if (unlimited_) return;
  const int64_t limit = body_limit(*reader_);
  if (limit == 0 || received_ <= static_cast<uint64_t>(limit)) return;
  if (length_.kind == BodyLength::Kind::exact) return;  // checked when the location was found
  reader_->log(Severity::error, "client intended to send too large chunked body: " +
                                    std::to_string(received_ - now) + "+" + std::to_string(now) +
                                    " bytes");
  received_ -= now;
  refuse(413);
}

bool ClientBody::store(Slice data) {
  check_size(data.size());
  if (error_ != 0) return false;
  const auto& settings = reader_->settings<CoreSettings>();
  size_t limit = settings.client_body_buffer_size.value;
  if (length_.kind == BodyLength::Kind::exact && length_.bytes < limit + limit / 4) {
    limit = static_cast<size_t>(length_.bytes);
  }
  bool to_file = in_file() != BodyInFile::off;
  // What came with the head, in the buffer for heads, needs no other.
  if (ended_ && exchange_.fits_head_buffer(received_)) limit = std::max<size_t>(limit, received_);
  if (!to_file && !file_ && !buffer_ && stored_.empty() && data.size() <= limit) {
    // Most bodies come whole, with the head: no copy.
    stored_.push(std::move(data));
    return true;
  }
  if (!to_file && !file_ && !buffer_) buffer_ = Block::take(limit > 0 ? limit : 1);
  if (!stored_.empty() && !file_) {
    Slice first = stored_.take_front();
    if (!buffer(first.view())) return false;
  }
  return buffer(data.view());
}

// Into the memory buffer; when that is full, everything goes to a file.
bool ClientBody::buffer(std::string_view data) {
  if (buffer_ && !file_ && buffered_ + data.size() <= buffer_->capacity()) {
    std::memcpy(buffer_->data() + buffered_, data.data(), data.size());
    buffered_ += data.size();
    return true;
  }
  if (!file_) {
    if (!open_file()) return false;
    if (buffered_ > 0 && !write_file({buffer_->data(), buffered_})) return false;
    buffered_ = 0;
    buffer_ = nullptr;
  }
  return write_file(data);
}

bool ClientBody::open_file() {
  const auto& settings = reader_->settings<CoreSettings>();
  Worker& worker = exchange_.worker();
  int descriptor = -1;
  std::string name;
  for (int attempt = 0; attempt < 1000 && descriptor < 0; ++attempt) {
    uint64_t number = worker.next_temp_file++ % 10000000000ull;
    name = temp_name(settings.client_body_temp_path, number, false);
    constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
    descriptor = ::open(name.c_str(), kFlags, 0600);
    if (descriptor < 0 && errno == ENOENT) {
      temp_name(settings.client_body_temp_path, number, true);
      descriptor = ::open(name.c_str(), kFlags, 0600);
    }
    if (descriptor < 0 && errno != EEXIST) break;
    if (descriptor < 0) worker.next_temp_file += kNameJump;
  }
  if (descriptor < 0) {
    reader_->log(Severity::crit, "open() \"" + name + "\" failed", errno);
    fail(500);
    return false;
  }
  file_ = make_ref<File>(descriptor);
  file_name_ = std::move(name);
  keep_file_ = in_file() == BodyInFile::on;
  if (in_file() == BodyInFile::off) {
    reader_->log(Severity::warn,
                 "a client request body is buffered to a temporary file " + file_name_);
  }
  return true;
}

bool ClientBody::write_file(std::string_view data) {
  while (!data.empty()) {
    ssize_t count =
        ::pwrite(file_->descriptor(), data.data(), data.size(), static_cast<off_t>(file_bytes_));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      reader_->log(Severity::crit, "pwrite() \"" + file_name_ + "\" failed",
                   count < 0 ? errno : ENOSPC);
      fail(500);
      return false;
    }
    file_bytes_ += static_cast<uint64_t>(count);
    data.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

void ClientBody::finish_storing() {
  if (stored_done_) return;
  stored_done_ = true;
  if (in_file() != BodyInFile::off && !file_ &&
      (present() || reader_->headers().find(HeaderId::content_length) != nullptr)) {
    if (!open_file()) return;
  }
  if (file_) {
    stored_.push(Slice::file_range(file_, 0, static_cast<size_t>(file_bytes_)));
  } else if (buffer_) {
    const char* data = buffer_->data();
    stored_.push(Slice(std::move(buffer_), data, buffered_));
    buffer_ = nullptr;
  }
}

}  // namespace weir::http
