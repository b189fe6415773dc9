#include "engine/stream/datagrams.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/base/pooled.h"
#include "engine/event/loop.h"
#include "engine/stream/session.h"
#include "engine/stream/sessions.h"
#include "engine/worker.h"

namespace weir::stream {
namespace {

constexpr unsigned kBatch = 32;
constexpr int kBatchesInARow = 4;  // then others have their turn
constexpr int kBatchesAtTheEnd = 1000;
constexpr size_t kLargestDatagram = 65535;
constexpr size_t kOutputBytes = 256 * 1024;
constexpr size_t kControlSize = CMSG_SPACE(sizeof(in6_pktinfo));

// Room for one recvmmsg. Untouched pages cost nothing.
struct Input {
  mmsghdr messages[kBatch];
  iovec vectors[kBatch];
  sockaddr_storage peers[kBatch];
  alignas(cmsghdr) char controls[kBatch][kControlSize];
  char data[kBatch][kLargestDatagram];
};

Input& input() {
  thread_local std::unique_ptr<Input> room(new Input);
  return *room;
}

// The address that a datagram was sent to, from its control message; none when it says nothing.
net::Address local_from(const msghdr& message, uint16_t port) {
  for (const cmsghdr* control = CMSG_FIRSTHDR(&message); control;
       control = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(control))) {
    if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(control), sizeof info);
      return net::Address::from_binary(
          {reinterpret_cast<const char*>(&info.ipi_addr), sizeof info.ipi_addr}, port);
    }
    if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(control), sizeof info);
      return net::Address::from_binary(
          {reinterpret_cast<const char*>(&info.ipi6_addr), sizeof info.ipi6_addr}, port);
    }
  }
  return {};
}

// Says which address a datagram leaves from.
void put_source(msghdr& message, char* room, const net::Address& local) {
  const std::string_view binary = local.binary();
  message.msg_control = room;
  if (local.family() == AF_INET) {
    message.msg_controllen = CMSG_SPACE(sizeof(in_pktinfo));
    cmsghdr* control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = IPPROTO_IP;
    control->cmsg_type = IP_PKTINFO;
    control->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, binary.data(), sizeof info.ipi_spec_dst);
    std::memcpy(CMSG_DATA(control), &info, sizeof info);
    return;
  }
  message.msg_controllen = CMSG_SPACE(sizeof(in6_pktinfo));
  cmsghdr* control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = IPPROTO_IPV6;
  control->cmsg_type = IPV6_PKTINFO;
  control->cmsg_len = CMSG_LEN(sizeof(in6_pktinfo));
  in6_pktinfo info{};
  std::memcpy(&info.ipi6_addr, binary.data(), sizeof info.ipi6_addr);
  std::memcpy(CMSG_DATA(control), &info, sizeof info);
}

}  // namespace

// One client, as long as its session lives.
class DatagramListener::Client final : public DatagramClient, public Pooled {
 public:
  Client(DatagramListener& listener, const net::Address& from, const net::Address& to,
         std::string_view datagram)
      : peer(from), local(to), first_(datagram), listener_(&listener) {}

  void send(const char* data, size_t size) override { listener_->send(*this, data, size); }
  std::string_view first_datagram() const override { return first_; }
  void detach() override {
    if (attached) listener_->clients_.erase(this);
    attached = false;
  }
  void session_gone() override {
    detach();
    delete this;
  }
  void forget_first() { first_ = {}; }

  net::Address peer;
  net::Address local;
  Session* session = nullptr;
  bool attached = false;

 private:
  std::string_view first_;
  Ref<DatagramListener> listener_;
};

// Answers that wait for the end of the round.
struct DatagramListener::Output {
  mmsghdr messages[kBatch];
  iovec vectors[kBatch];
  net::Address peers[kBatch];
  alignas(cmsghdr) char controls[kBatch][kControlSize];
  unsigned count = 0;
  size_t used = 0;
  char data[kOutputBytes];
};

size_t DatagramListener::Hash::operator()(const Client* client) const {
  return (*this)(Key{client->peer, client->local});
}
size_t DatagramListener::Hash::operator()(const Key& key) const {
  return key.peer.hash() * 31 + key.local.hash();
}
bool DatagramListener::Equal::operator()(const Key& key, const Client* client) const {
  return client->peer == key.peer && client->local == key.local;
}

DatagramListener::DatagramListener(Sessions& sessions, Steering* steering,
                                   const net::ListenOptions& options, size_t resource)
    : sessions_(sessions),
      steering_(steering),
      options_(options),
      resource_(resource),
      tells_local_(options.address.is_wildcard()),
      watcher_(&DatagramListener::readable, this),
      flush_(&DatagramListener::flush_later, this) {}

DatagramListener::~DatagramListener() = default;

int DatagramListener::open(int descriptor) {
  descriptor_ = descriptor;
  if (tells_local_) {
    const int on = 1;
    if (options_.address.family() == AF_INET6) {
      ::setsockopt(descriptor, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    } else {
      ::setsockopt(descriptor, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    }
  }
  if (steering_) {
    steering_->add(*this);
    if (!steering_->is_ready()) return 0;
  }
  return watcher_.open(sessions_.worker().loop, descriptor, EPOLLIN);
}

void DatagramListener::start() {
  watcher_.open(sessions_.worker().loop, descriptor_, EPOLLIN);
}

void DatagramListener::close() {
  if (steering_) steering_->remove(*this);
  flush();
  watcher_.close();
  descriptor_ = -1;
  const std::vector<Client*> clients(clients_.begin(), clients_.end());
  for (Client* client : clients) {
    client->session->log_plain(Severity::info, "disconnected on shutdown");
    client->session->finish(200);
  }
}

// --- receiving

void DatagramListener::readable(void* self, uint32_t) {
  const Ref<DatagramListener> keep(static_cast<DatagramListener*>(self));
  keep->receive();
}

void DatagramListener::stop_receiving() {
  for (int i = 0; i < kBatchesAtTheEnd && receive(); ++i) {
  }
  watcher_.close();
}

// True: there may be more.
bool DatagramListener::receive() {
  Input& in = input();
  for (int batch = 0; batch < kBatchesInARow && descriptor_ >= 0; ++batch) {
    for (unsigned i = 0; i < kBatch; ++i) {
      msghdr& message = in.messages[i].msg_hdr;
      in.vectors[i] = {in.data[i], kLargestDatagram};
      message = {};
      message.msg_name = &in.peers[i];
      message.msg_namelen = sizeof in.peers[i];
      message.msg_iov = &in.vectors[i];
      message.msg_iovlen = 1;
      if (tells_local_) {
        message.msg_control = in.controls[i];
        message.msg_controllen = kControlSize;
      }
    }
    const int count = ::recvmmsg(descriptor_, in.messages, kBatch, MSG_DONTWAIT, nullptr);
    if (count <= 0) return false;
    for (int i = 0; i < count && descriptor_ >= 0; ++i) {
      const msghdr& message = in.messages[i].msg_hdr;
      const net::Address peer(reinterpret_cast<const sockaddr*>(&in.peers[i]), message.msg_namelen);
      const std::string_view datagram(in.data[i], in.messages[i].msg_len);
      if (tells_local_) {
        const net::Address local = local_from(message, options_.address.port());
        take({peer, local.empty() ? options_.address : local}, datagram);
      } else {
        take({peer, options_.address}, datagram);
      }
    }
    if (count < static_cast<int>(kBatch)) return false;
  }
  return descriptor_ >= 0;
}

void DatagramListener::take(const Key& key, std::string_view datagram) {
  if (deliver(key, datagram)) return;
  if (steering_) {
    steering_->read_inbox();
    if (descriptor_ < 0 || deliver(key, datagram)) return;
    if (steering_->pass_on(options_.address, key, datagram)) return;
  }
  begin(key, datagram);
}

void DatagramListener::for_each_client(const std::function<void(const Key&)>& visit) const {
  for (const Client* client : clients_) visit({client->peer, client->local});
}

bool DatagramListener::deliver(const Key& key, std::string_view datagram) {
  const auto found = clients_.find(key);
  if (found == clients_.end()) return false;
  (*found)->session->deliver(datagram);
  return true;
}

void DatagramListener::begin(const Key& key, std::string_view datagram) {
  Worker& worker = sessions_.worker();
  if (!worker.has_room()) {
    const int64_t now = worker.loop.wall_milliseconds() / 1000;
    if (now == complained_at_) return;
    complained_at_ = now;
    const auto& graph = worker.generation->stream;
    if (!graph) return;
    worker.error_log.write(
        *graph->error_log, Severity::alert, 0,
        std::to_string(worker.connection_limit) + " worker_connections are not enough");
    return;
  }
  auto* client = new Client(*this, key.peer, key.local, datagram);
  // On failure, too, the session tells the client that it is gone.
  Session* session = sessions_.accept_datagram(*client, key.peer, key.local, resource_);
  if (!session) return;
  client->forget_first();
  client->session = session;
  if (session->finished() || session->is_detached()) return;
  client->attached = true;
  clients_.insert(client);
}

// --- sending

void DatagramListener::send(const Client& client, const char* data, size_t size) {
  if (descriptor_ < 0 || size > kLargestDatagram) return;
  if (!output_) output_ = std::make_unique<Output>();
  if (output_->count == kBatch || output_->used + size > kOutputBytes) flush();
  Output& out = *output_;
  const unsigned at = out.count++;
  std::memcpy(out.data + out.used, data, size);
  out.vectors[at] = {out.data + out.used, size};
  out.used += size;
  out.peers[at] = client.peer;
  msghdr& message = out.messages[at].msg_hdr;
  message = {};
  message.msg_name = const_cast<sockaddr*>(out.peers[at].data());
  message.msg_namelen = out.peers[at].size();
  message.msg_iov = &out.vectors[at];
  message.msg_iovlen = 1;
  if (tells_local_) put_source(message, out.controls[at], client.local);
  flush_.schedule(sessions_.worker().loop);
}

void DatagramListener::flush_later(void* self) {
  static_cast<DatagramListener*>(self)->flush();
}

void DatagramListener::flush() {
  flush_.cancel();
  if (!output_) return;
  Output& out = *output_;
  for (unsigned sent = 0; sent < out.count && descriptor_ >= 0;) {
    int count;
    if (out.count - sent == 1) {
      count = ::sendmsg(descriptor_, &out.messages[sent].msg_hdr, MSG_DONTWAIT) < 0 ? -1 : 1;
    } else {
      count = ::sendmmsg(descriptor_, out.messages + sent, out.count - sent, MSG_DONTWAIT);
    }
    if (count < 0 && errno == EINTR) continue;
    // What cannot go is lost, as datagrams are; the next may go.
    sent += count <= 0 ? 1 : static_cast<unsigned>(count);
  }
  out.count = 0;
  out.used = 0;
}

}  // namespace weir::stream
