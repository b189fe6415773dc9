// A closed-loop load generator that checks every byte of every answer.
//
//   bench_client MODE PORT CONNECTIONS TARGETS
//
// MODE is `requests` (keep-alive), `connect` (a connection for each request), `tunnel` (echo of
// 64 bytes after an upgrade) or `datagrams` (echo of 64 bytes by UDP). TARGETS is a file of lines
// "host target", used in turn. Opens its connections, makes one exchange on each, and prints
// "ready". Then, for each line "N" on standard input, makes N exchanges and prints "done SECONDS".
// Ends with standard input. Anything wrong: a sentence, status 1.

#include <fstream>
#include <memory>
#include <sstream>

#include "tools/bench/generator.h"

namespace {

using weir::bench::watch;
using weir::bench::wrong;

constexpr size_t kMessage = 64;

struct Request {
  std::string text;
  size_t size = 0;
};

struct Connection {
  int descriptor = -1;
  bool tunnel = false;  // upgraded: what comes now is an echo
  bool in_body = false;
  size_t wanted = 0;  // body bytes, or bytes to be echoed
  size_t got = 0;
  std::string head;
  std::string message;
};

enum class Mode { requests, connect, tunnel, datagrams };

class Client : public weir::bench::Generator {
 public:
  Client(Mode mode, uint16_t port, size_t connections, const char* targets)
      : Generator(port, connections, connections), mode_(mode), connections_(connections) {
    read_targets(targets);
  }

 private:
  void read_targets(const char* path) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string host;
      std::string target;
      if (!(words >> host >> target)) continue;
      std::string text = "GET ";
      text.append(target).append(" HTTP/1.1\r\nHost: ").append(host);
      text +=
          "\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
          "\r\nAccept: */*\r\nAccept-Language: en\r\n";
      if (mode_ == Mode::connect) text += "Connection: close\r\n";
      if (mode_ == Mode::tunnel) text += "Connection: Upgrade\r\nUpgrade: echo\r\n";
      requests_.push_back({text + "\r\n", weir::bench::wanted_size(target)});
    }
    if (requests_.empty()) wrong("no targets");
  }

  void open(size_t index) override { begin(connections_[index]); }
  void next(size_t index) override { next(connections_[index]); }
  void ready(void* connection) override { read_some(*static_cast<Connection*>(connection)); }

  // A new connection, and its first exchange.
  void begin(Connection& connection) {
    connection.tunnel = mode_ == Mode::datagrams;
    connection.descriptor = connect(connection.tunnel ? SOCK_DGRAM : SOCK_STREAM);
    watch(epoll_, connection.descriptor, EPOLLIN, &connection);
    if (mode_ == Mode::datagrams) return next(connection);
    request(connection);
  }

  void request(Connection& connection) {
    const Request& request = requests_[turn_++ % requests_.size()];
    connection.in_body = false;
    connection.head.clear();
    connection.wanted = request.size;
    connection.got = 0;
    send(connection, request.text);
  }

  // The next exchange on a connection that has had its first.
  void next(Connection& connection) {
    if (mode_ == Mode::connect) return begin(connection);
    if (mode_ == Mode::requests) return request(connection);
    std::string message(kMessage, '\0');
    for (char& c : message) c = letter();
    connection.message = message;
    connection.wanted = kMessage;
    connection.got = 0;
    send(connection, message);
  }

  void send(Connection& connection, const std::string& text) {
    begun();
    if (::send(connection.descriptor, text.data(), text.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(text.size())) {
      wrong(std::string("send: ") + strerror(errno));
    }
  }

  void read_some(Connection& connection) {
    const ssize_t count = recv(connection.descriptor, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) wrong("the connection ended inside an answer");
    std::string_view bytes(buffer_.data(), static_cast<size_t>(count));
    if (connection.tunnel) {
      if (connection.got + bytes.size() > connection.wanted) wrong("more came back than was sent");
      if (bytes != std::string_view(connection.message).substr(connection.got, bytes.size())) {
        wrong("another message came back");
      }
      connection.got += bytes.size();
      if (connection.got == connection.wanted) finish(connection);
      return;
    }
    if (!connection.in_body && !read_head(connection, bytes)) return;
    if (connection.got + bytes.size() > connection.wanted) wrong("the body is too long");
    if (memcmp(bytes.data(), pattern_.data() + connection.got, bytes.size()) != 0) {
      wrong("the body is not what the backend sent");
    }
    connection.got += bytes.size();
    if (connection.got == connection.wanted) finish(connection);
  }

  // Takes the head off `bytes`; false when there is nothing more to do for now.
  bool read_head(Connection& connection, std::string_view& bytes) {
    const size_t before = connection.head.size();
    connection.head.append(bytes);
    const size_t end = connection.head.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    bytes.remove_prefix(end + 4 - before);
    connection.head.resize(end + 2);
    const std::string_view head = connection.head;
    if (mode_ == Mode::tunnel) {
      if (head.substr(0, 12) != "HTTP/1.1 101") wrong("no tunnel: " + connection.head);
      connection.tunnel = true;
      (void)ended();  // that was the upgrade: the first exchange comes now
      next(connection);
      return false;
    }
    if (head.substr(0, 15) != "HTTP/1.1 200 OK") wrong("status: " + connection.head);
    const std::string length = "\r\nContent-Length: " + std::to_string(connection.wanted) + "\r\n";
    if (head.find(length) == std::string_view::npos) wrong("length: " + connection.head);
    connection.in_body = true;
    return true;
  }

  void finish(Connection& connection) {
    if (mode_ == Mode::connect) close(connection.descriptor);
    if (ended()) next(connection);
  }

  Mode mode_;
  size_t turn_ = 0;
  std::vector<Request> requests_;
  std::vector<Connection> connections_;
};

}  // namespace

int main(int count, char** arguments) {
  const std::string mode = count == 5 ? arguments[1] : "";
  if (mode != "requests" && mode != "connect" && mode != "tunnel" && mode != "datagrams") {
    fprintf(stderr,
            "usage: bench_client requests|connect|tunnel|datagrams PORT CONNECTIONS TARGETS\n");
    return 2;
  }
  const Mode kind = mode == "requests"  ? Mode::requests
                    : mode == "connect" ? Mode::connect
                    : mode == "tunnel"  ? Mode::tunnel
                                        : Mode::datagrams;
  std::make_unique<Client>(kind, static_cast<uint16_t>(std::stoul(arguments[2])),
                           std::stoul(arguments[3]), arguments[4])
      ->run();
  return 0;
}
