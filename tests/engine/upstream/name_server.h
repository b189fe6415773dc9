#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/event/loop.h"
#include "engine/net/address.h"
#include "tests/support/loopback.h"

// A name server that says what a test has told it.
namespace weir::test {

inline constexpr uint16_t kA = 1;
inline constexpr uint16_t kAaaa = 28;
inline constexpr uint16_t kSrv = 33;

inline std::string number(uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  return text;
}

// What the server says to one name and type.
struct Answer {
  int code = 0;  // 3: NXDOMAIN
  uint32_t ttl = 300;
  std::vector<std::string> addresses;  // binary; of other types the data of the records
  bool truncated = false;              // over UDP: only the bit, the rest over TCP
  bool silent = false;
};

// A name server on loopback: UDP, and TCP on the same port.
class NameServer {
 public:
  explicit NameServer(Loop& loop) {
    udp_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    // Another process may hold the UDP port of the number that TCP was given.
    bool bound = false;
    for (int i = 0; i < 50 && !bound; ++i) {
      tcp_ = std::make_unique<Backend>(loop);
      const net::Address address = *net::Address::parse(tcp_->text());
      bound = ::bind(udp_, address.data(), address.size()) == 0;
    }
    REQUIRE(bound);
  }
  // UDP only, at "[::1]:0" or another address. Not every test may have every port: is_open().
  explicit NameServer(const std::string& at) {
    const net::Address address = *net::Address::parse(at);
    udp_ = ::socket(address.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    open_ = ::bind(udp_, address.data(), address.size()) == 0;
  }
  ~NameServer() { ::close(udp_); }
  bool is_open() const { return open_; }
  std::string text() const { return net::Address::local_of(udp_).text(); }
  void add(const std::string& name, uint16_t type, Answer answer) {
    answers_[{name, type}] = std::move(answer);
  }
  void add(const std::string& name, std::vector<std::string> v4, uint32_t ttl = 300) {
    Answer answer;
    answer.ttl = ttl;
    answer.addresses = std::move(v4);
    add(name, kA, answer);
  }
  // A SRV record more.
  void add_service(const std::string& name, uint16_t priority, uint16_t weight, uint16_t port,
                   const std::string& target, uint32_t ttl = 300) {
    Answer& answer = answers_[{name, kSrv}];
    answer.ttl = ttl;
    answer.addresses.push_back(number(priority, 2) + number(weight, 2) + number(port, 2) +
                               name_of(target));
  }
  void remove(const std::string& name, uint16_t type) { answers_.erase({name, type}); }
  // A name as a DNS message has it.
  static std::string name_of(const std::string& text) {
    std::string bytes;
    size_t at = 0;
    while (at < text.size()) {
      const size_t dot = std::min(text.find('.', at), text.size());
      bytes += static_cast<char>(dot - at) + text.substr(at, dot - at);
      at = dot + 1;
    }
    return bytes + std::string(1, '\0');
  }
  // Answers what has come.
  void serve() {
    char buffer[1500];
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    for (;;) {
      const ssize_t count =
          ::recvfrom(udp_, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (count <= 0) break;
      const std::string reply = answer({buffer, static_cast<size_t>(count)}, false);
      if (reply.empty()) continue;
      ::sendto(udp_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
    if (tcp_ && tcp_->waiting()) connections_.push_back(tcp_->accept());
    for (const auto& connection : connections_) {
      connection->take();
      std::string& text = connection->received;
      if (text.size() < 2) continue;
      const size_t length =
          static_cast<unsigned char>(text[0]) * 256u + static_cast<unsigned char>(text[1]);
      if (text.size() < length + 2) continue;
      const std::string reply = answer(text.substr(2, length), true);
      text.erase(0, length + 2);
      connection->send(number(reply.size(), 2) + reply);
    }
  }

  int questions = 0;
  int over_tcp = 0;

 private:
  std::string answer(const std::string& query, bool tcp) {
    ++questions;
    over_tcp += tcp;
    std::string name;
    size_t at = 12;
    while (at < query.size() && query[at] != 0) {
      if (!name.empty()) name += '.';
      const auto length = static_cast<uint8_t>(query[at]);
      name += query.substr(at + 1, length);
      at += length + 1;
    }
    const std::string question = query.substr(12, at + 5 - 12);
    const auto type = static_cast<uint16_t>(static_cast<unsigned char>(query[at + 1]) * 256 +
                                            static_cast<unsigned char>(query[at + 2]));
    const auto known = answers_.find({name, type});
    Answer said;
    if (known != answers_.end()) said = known->second;
    // A name that has another type only: no error, no address.
    if (known == answers_.end() && !answers_.count({name, kA}) && !answers_.count({name, kAaaa}))
      said.code = 3;
    if (said.silent) return {};
    const bool cut = said.truncated && !tcp;
    if (cut) said.addresses.clear();
    const auto flags = static_cast<uint64_t>(0x8180 | (cut ? 0x200 : 0) | said.code);
    std::string reply = query.substr(0, 2) + number(flags, 2) + number(1, 2) +
                        number(said.addresses.size(), 2) + number(0, 4) + question;
    for (const std::string& address : said.addresses) {
      reply += "\xc0\x0c" + number(type, 2) + number(1, 2) + number(said.ttl, 4) +
               number(address.size(), 2) + address;
    }
    return reply;
  }

  std::unique_ptr<Backend> tcp_;
  int udp_ = -1;
  bool open_ = true;
  std::map<std::pair<std::string, uint16_t>, Answer> answers_;
  std::vector<std::unique_ptr<Peer>> connections_;
};

inline std::string v4(int a, int b, int c, int d) {
  return {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c), static_cast<char>(d)};
}

}  // namespace weir::test
