#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "engine/event/loop.h"
#include "engine/event/watcher.h"
#include "engine/net/byte_rate.h"
#include "modules/stream/proxy_run.h"

// A client's datagrams, passed to an upstream through a socket of the session's own.
namespace weir::stream::proxy {
namespace {

constexpr unsigned kBatch = 8;
constexpr size_t kLargestDatagram = 65535;
constexpr int kLimitedInARow = 8;  // then others have their turn

// Room for what one call receives. Never held across an event; untouched pages cost nothing.
char* batch_buffer() {
  thread_local std::unique_ptr<char[]> buffer(new char[kBatch * kLargestDatagram]);
  return buffer.get();
}

class ProxyDatagrams final : public ProxyRun, public Pooled {
 public:
  explicit ProxyDatagrams(Session& session)
      : ProxyRun(session),
        first_(session.datagram_client().first_datagram()),
        watcher_(&ProxyDatagrams::readable, this),
        timer_(&ProxyDatagrams::expired, this),
        timeout_(static_cast<uint64_t>(settings_.timeout.value)),
        most_requests_(static_cast<uint64_t>(settings_.requests.value)),
        most_responses_(settings_.responses ? settings_.responses->value : -1) {}
  ~ProxyDatagrams() override { close(); }

  bool on_datagram(std::string_view datagram) override;
  bool only_relays() const override { return descriptor_ >= 0 && requests_ > 0; }
  void update() override {
    if (first_byte_at_ && attempt().first_byte_time < 0) {
      attempt().first_byte_time =
          static_cast<int64_t>(first_byte_at_ - (worker_.loop.now() - attempt_age()));
    }
    ProxyRun::update();
  }

 private:
  void open(const net::Address& peer) override;
  uint64_t upstream_sent() const override { return sent_; }
  uint64_t upstream_received() const override { return received_; }
  int descriptor() const override { return descriptor_; }
  static void readable(void* self, uint32_t);
  static void expired(void* self);
  static void pause_is_over(void* self);
  void close() {
    watcher_.close();
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }
  void receive();
  void receive_limited();
  void receive_failed(int error);
  void set_limits();
  // May this datagram of the client pass?
  bool take_upload(size_t size);
  // May one of the upstream's be read now? Else after a pause.
  bool may_download();
  void pass_on(std::string_view datagram);
  void pass_back(const char* data, size_t size);
  // Are all answers there that are to come?
  bool has_all_answers() const;
  // Then the session is over.
  bool settle();
  void end(int status);
  std::string counts() const;
  // A pause is not silence: the time counts from its end on.
  void arm() { timer_.arm(worker_.loop, timeout_ + (limits_ ? limits_->pause_left() : 0)); }

  // proxy_upload_rate and proxy_download_rate.
  struct Limits {
    explicit Limits(ProxyDatagrams& run)
        : loop(run.worker_.loop), timer(&ProxyDatagrams::pause_is_over, &run) {}
    uint64_t pause_left() const {
      const uint64_t end = std::max(upload_pause, timer.deadline());
      return end > loop.now() ? end - loop.now() : 0;
    }
    Loop& loop;
    std::optional<net::ByteRate> upload, download;
    uint64_t uploaded = 0;
    uint64_t upload_pause = 0;  // until then datagrams are dropped; Loop::now()
    Timer timer;                // the pause of the download
  };

  std::string first_;  // what came before there was an upstream
  Watcher watcher_;
  Timer timer_;
  std::unique_ptr<Limits> limits_;  // null: no rates
  int descriptor_ = -1;
  uint64_t timeout_;
  uint64_t most_requests_;  // 0: no limit
  int64_t most_responses_;  // to each request; -1: no limit
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  uint64_t requests_ = 0;
  uint64_t responses_ = 0;
  uint64_t first_byte_at_ = 0;
  bool failed_ = false;  // there was an error of the socket
};

void ProxyDatagrams::open(const net::Address& peer) {
  close();
  const net::ConnectOptions options = connect_options();
  const net::DatagramSocket opened = net::open_datagram_socket(peer, options);
  descriptor_ = opened.descriptor;
  const net::ConnectResult& result = opened.result;
  if (result.state == net::ConnectResult::State::failed) {
    session_.log(Severity::alert, net::failure_text(result, peer, options), result.error);
    return session_.finish(500);
  }
  if (result.state == net::ConnectResult::State::refused) {
    session_.log(connect_severity(result.error), net::failure_text(result, peer, options),
                 result.error);
    return attempt_failed();
  }
  set_limits();
  // In a pause what has come is left where it is, and must not be told again and again.
  const bool pauses = limits_ && limits_->download;
  const uint32_t events = EPOLLIN | (pauses ? static_cast<uint32_t>(EPOLLET) : 0u);
  if (const int error = watcher_.open(worker_.loop, descriptor_, events)) {
    session_.log(Severity::alert, "epoll_ctl() failed", error);
    return session_.finish(500);
  }
  connected();
  std::string first = proxy_header();
  first += first_;
  first_ = {};
  ++requests_;
  pass_on(first);
  if (session_.finished() || settle()) return;
  session_.relaying();
  arm();
}

bool ProxyDatagrams::on_datagram(std::string_view datagram) {
  if (descriptor_ < 0) return false;  // not connected yet: lost, as datagrams are
  if (limits_ && limits_->upload && !take_upload(datagram.size())) return false;
  ++requests_;
  pass_on(datagram);
  if (!session_.finished() && !settle()) arm();
  return true;
}

// --- rates

void ProxyDatagrams::set_limits() {
  const uint64_t upload = rate(settings_.upload_rate);
  const uint64_t download = rate(settings_.download_rate);
  if (!upload && !download) return;
  limits_ = std::make_unique<Limits>(*this);
  const int64_t now = worker_.loop.wall_milliseconds();
  if (upload) limits_->upload.emplace(upload, now);
  if (download) limits_->download.emplace(download, now);
  limits_->uploaded = first_.size();
}

// What comes too fast is lost, as datagrams are: nobody holds it.
bool ProxyDatagrams::take_upload(size_t size) {
  Limits& limits = *limits_;
  const uint64_t now = worker_.loop.now();
  if (now < limits.upload_pause) return false;
  const int64_t wall = worker_.loop.wall_milliseconds();
  if (limits.upload->allowance(limits.uploaded, wall) == 0) {
    limits.upload_pause = now + limits.upload->wait(limits.uploaded, wall);
    arm();
    return false;
  }
  limits.uploaded += size;
  limits.upload_pause = now + limits.upload->pause(size);
  return true;
}

bool ProxyDatagrams::may_download() {
  Limits& limits = *limits_;
  if (limits.timer.armed()) return false;
  const int64_t wall = worker_.loop.wall_milliseconds();
  if (limits.download->allowance(received_, wall) > 0) return true;
  limits.timer.arm(worker_.loop, limits.download->wait(received_, wall));
  return false;
}

// One after another: each has its pause.
void ProxyDatagrams::receive_limited() {
  char* const buffer = batch_buffer();
  for (int i = 0; may_download(); ++i) {
    if (i == kLimitedInARow) {
      limits_->timer.arm(worker_.loop, 0);
      break;
    }
    const ssize_t size = ::recv(descriptor_, buffer, kLargestDatagram, MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) break;
    if (size < 0) {
      receive_failed(errno);
    } else {
      pass_back(buffer, static_cast<size_t>(size));
      const uint64_t pause = limits_->download->pause(static_cast<uint64_t>(size));
      if (pause > 0) limits_->timer.arm(worker_.loop, pause);
    }
    if (settle()) return;
  }
  arm();
}

void ProxyDatagrams::pause_is_over(void* self) {
  static_cast<ProxyDatagrams*>(self)->receive();
}

// --- to the upstream

void ProxyDatagrams::pass_on(std::string_view datagram) {
  for (bool again = true;; again = false) {
    ssize_t count;
    do {
      count = ::send(descriptor_, datagram.data(), datagram.size(), MSG_NOSIGNAL);
    } while (count < 0 && errno == EINTR);
    if (count >= 0) {
      sent_ += static_cast<uint64_t>(count);
      return;
    }
    if (errno == EAGAIN || errno == ENOBUFS) return;  // lost
    const int error = errno;
    failed_ = true;
    session_.set_activity("proxying and sending to upstream");
    session_.log(Severity::error, "sendmsg() failed", error);
    session_.set_activity("proxying connection");
    // The error of an earlier datagram may be told now: this one can still go.
    if (error != ECONNREFUSED) return end(200);
    if (!again) return;
  }
}

void ProxyDatagrams::readable(void* self, uint32_t) {
  static_cast<ProxyDatagrams*>(self)->receive();
}

void ProxyDatagrams::receive() {
  if (session_.finished()) return;
  if (limits_ && limits_->download) return receive_limited();
  char* const buffer = batch_buffer();
  mmsghdr messages[kBatch];
  iovec vectors[kBatch];
  for (unsigned i = 0; i < kBatch; ++i) {
    vectors[i] = {buffer + i * kLargestDatagram, kLargestDatagram};
    messages[i] = {};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  const int count = ::recvmmsg(descriptor_, messages, kBatch, MSG_DONTWAIT, nullptr);
  if (count < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    receive_failed(errno);
  }
  for (int i = 0; i < count; ++i) {
    pass_back(static_cast<const char*>(vectors[i].iov_base), messages[i].msg_len);
  }
  if (!settle()) arm();
}

void ProxyDatagrams::receive_failed(int error) {
  session_.set_activity("proxying and reading from upstream");
  session_.log(Severity::error, "recv() failed", error);
  session_.set_activity("proxying connection");
  failed_ = true;
  // As nginx, the client gets an empty datagram for it.
  pass_back("", 0);
}

void ProxyDatagrams::pass_back(const char* data, size_t size) {
  if (first_byte_at_ == 0) first_byte_at_ = worker_.loop.now();
  received_ += size;
  ++responses_;
  session_.datagram_client().send(data, size);
  session_.sent += size;
}

std::string ProxyDatagrams::counts() const {
  return ", packets from/to client:" + std::to_string(requests_) + "/" +
         std::to_string(responses_) +
         ", bytes from/to client:" + std::to_string(session_.received) + "/" +
         std::to_string(session_.sent) + ", bytes from/to upstream:" + std::to_string(received_) +
         "/" + std::to_string(sent_);
}

bool ProxyDatagrams::has_all_answers() const {
  return responses_ >= static_cast<uint64_t>(most_responses_) * requests_;
}

bool ProxyDatagrams::settle() {
  if (most_requests_ && requests_ < most_requests_) return false;
  // The client's next datagram begins a session.
  if (most_requests_) session_.detach();
  if (most_responses_ < 0 || !has_all_answers()) return false;
  if (session_.wants_log(Severity::info)) {
    session_.log_plain(Severity::info, "udp done" + counts());
  }
  end(200);
  return true;
}

void ProxyDatagrams::end(int status) {
  if (failed_) peer_failed();
  session_.finish(status);
}

void ProxyDatagrams::expired(void* self) {
  auto& run = *static_cast<ProxyDatagrams*>(self);
  if (run.session_.finished()) return;
  if (run.most_responses_ < 0 || run.has_all_answers()) {
    run.session_.log_plain(Severity::info, "udp timed out" + run.counts());
    return run.end(200);
  }
  run.session_.log(Severity::error, "upstream timed out", ETIMEDOUT);
  run.failed_ = true;
  run.end(502);
}

}  // namespace

void start_datagrams(Session& session) {
  auto content = std::make_unique<ProxyDatagrams>(session);
  ProxyDatagrams& datagrams = *content;
  session.set_content(std::move(content));
  datagrams.begin();
}

}  // namespace weir::stream::proxy
